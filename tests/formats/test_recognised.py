"""Formats that are recognised by content and not read."""

from __future__ import annotations

import struct
from pathlib import Path

import h5py
import numpy as np
import pytest
from support.corpus_foreign import protobuf

import sac_fast
from sac_fast.errors import ModelRefusedError
from sac_fast.models import ModelEntry, open_model


@pytest.mark.parametrize(
    ("format", "content"),
    [
        ("git-lfs", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n"),
        ("gguf", b"GGUF" + struct.pack("<IQQ", 3, 0, 0)),
        ("ggml", b"lmgg" + bytes(40)),
        ("ncnn", b"7767517\n3 3\n"),
        ("openvino", b'<?xml version="1.0"?>\n<net name="x" version="11">'),
        ("paddle", bytes(16) + struct.pack("<i", 6) + b"\x08\x05\x10\x02\x10\x03" + bytes(24)),
        ("savedmodel", protobuf((1, 1), (2, b"graph"))),
        ("coreml", protobuf((1, 5), (2, b"about"), (500, b"network"))),
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


def keras_file(path: Path, kind: str) -> None:
    """An HDF5 file as Keras writes it: a legacy model, its weights, or the weights of Keras 3."""
    with h5py.File(path, "w") as file:
        if kind == "model":
            file.attrs["model_config"] = "{}"
            file["model_weights/dense/kernel:0"] = np.ones((4, 3), np.float32)
        elif kind == "weights":
            file.attrs["layer_names"] = [b"dense"]
            file["dense/dense/kernel:0"] = np.ones((4, 3), np.float32)
        else:
            file["layers/dense/vars/0"] = np.ones((4, 3), np.float32)
            file.create_group("vars")


@pytest.mark.parametrize("kind", ["model", "weights", "keras 3"])
def test_keras_files_are_recognised_and_not_run(tmp_path: Path, kind: str) -> None:
    keras_file(tmp_path / "m.h5", kind)
    assert sac_fast.identify(tmp_path / "m.h5") == "keras-h5"
    with pytest.raises(ModelRefusedError, match=r"a Keras model, whose loader runs code; export it to ONNX") as caught:
        open_model(ModelEntry("m", tmp_path / "m.h5"))
    assert caught.value.reason == "unknown-format"
    assert "safe_mode" not in str(caught.value)
    with sac_fast.open_weights(tmp_path / "m.h5") as opened:
        assert [array.shape for array in opened.arrays] == [(4, 3)]


def test_recorded_outputs_in_hdf5_are_no_keras_file(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "o.h5", "w") as file:
        file["outputs"] = np.ones((4, 3))
        file["layers"] = np.zeros(4)
    assert sac_fast.identify(tmp_path / "o.h5") == "hdf5"
