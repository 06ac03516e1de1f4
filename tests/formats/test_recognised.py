"""Formats that are recognised by content and not read."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

import sac_fast
from sac_fast.errors import ModelRefusedError


def fields(*numbers: tuple[int, bytes | int]) -> bytes:
    """A protobuf message."""
    out = b""
    for number, value in numbers:
        tag = number << 3 | (0 if isinstance(value, int) else 2)
        out += bytes([tag & 127 | 128, tag >> 7]) if tag > 127 else bytes([tag])
        out += bytes([value]) if isinstance(value, int) else bytes([len(value)]) + value
    return out


@pytest.mark.parametrize(
    ("format", "content"),
    [
        ("git-lfs", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n"),
        ("gguf", b"GGUF" + struct.pack("<IQQ", 3, 0, 0)),
        ("ggml", b"lmgg" + bytes(40)),
        ("ncnn", b"7767517\n3 3\n"),
        ("openvino", b'<?xml version="1.0"?>\n<net name="x" version="11">'),
        ("paddle", bytes(16) + struct.pack("<i", 6) + b"\x08\x05\x10\x02\x10\x03" + bytes(24)),
        ("savedmodel", fields((1, 1), (2, b"graph"))),
        ("coreml", fields((1, 5), (2, b"about"), (500, b"network"))),
        ("npy", b"\x93NUMPY\x01\x00"),
    ],
)
def test_formats_that_are_recognised_and_not_read(tmp_path: Path, format: str, content: bytes) -> None:
    (tmp_path / "w").write_bytes(content)
    assert sac_fast.identify(tmp_path / "w") == format
    with pytest.raises(ModelRefusedError, match=r"must be a file of weights, got .+; .+") as caught:
        sac_fast.open_weights(tmp_path / "w")
    assert caught.value.reason == "unknown-format"


def test_folders_without_weights(tmp_path: Path) -> None:
    with pytest.raises(ModelRefusedError, match="must hold one of ") as caught:
        sac_fast.open_weights(tmp_path)
    assert caught.value.reason == "not-a-regular-file"
    (tmp_path / "saved_model.pb").write_bytes(b"x")
    with pytest.raises(ModelRefusedError, match="a TensorFlow SavedModel; convert it"):
        sac_fast.open_weights(tmp_path)
