"""Sealed files that cost more than they are: refused by size, holes and header before anything is parsed."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from support.bounded import bounded

from sac_fast.errors import FileFormatError
from sac_fast.io.container import load_container, save_container


def bytes_of(text: str, data: bytes = b"") -> bytes:
    return struct.pack("<Q", len(text)) + text.encode() + data


COSTLY = {
    "long header": (bytes_of('{"__metadata__": {"a": "' + "x" * (3 << 20) + '"}}'), "a header of at most 2,"),
    "many values": (bytes_of('{"a": [' + "[]," * 500_000 + "[]]}"), "a header with few values, got 1,000,00"),
    "many keys": (bytes_of("{" + ",".join(f'"{i}":{{}}' for i in range(300_000)) + "}", bytes(32 << 20)), "few values"),
}


@pytest.mark.parametrize("name", COSTLY)
def test_headers_that_cost_more_than_they_are(tmp_path: Path, name: str) -> None:
    content, message = COSTLY[name]
    path = tmp_path / "a"
    path.write_bytes(content)
    with bounded(len(content), seconds=2), pytest.raises(FileFormatError, match=message):
        load_container(path, "probes")


def test_a_sealed_file_of_holes_is_refused_by_its_size(tmp_path: Path) -> None:
    path = tmp_path / "a"
    save_container(path, "fingerprint", {"outputs": np.zeros((1 << 10, 4), np.float32)}, {})
    raw = path.read_bytes()
    start = 8 + struct.unpack("<Q", raw[:8])[0]
    for size, message in ((1 << 30, "must lie on the disk, got 4,096 bytes of"), (3 << 30, "file of at most 2,147,")):
        with path.open("wb") as handle:
            handle.write(raw[:start])
            handle.truncate(size)
        with bounded(seconds=1), pytest.raises(FileFormatError, match=message):
            load_container(path, "fingerprint")


def test_a_large_file_takes_its_size_once(tmp_path: Path) -> None:
    path = tmp_path / "a"
    save_container(path, "fingerprint", {"outputs": np.ones((150 << 10, 256), np.float32)}, {})
    with bounded(50 << 20, seconds=20):  # of 150 MB
        arrays, _ = load_container(path, "fingerprint")
    assert arrays["outputs"].flags.writeable
