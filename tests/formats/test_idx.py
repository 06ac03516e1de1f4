"""IDX files: literal bytes, and every way in which a file may lie."""

import gzip
import struct
import tracemalloc

import numpy as np
import pytest

from sac_fast.errors import FileFormatError
from sac_fast.formats import idx

IMAGES = bytes.fromhex("00000803 00000002 00000001 00000003") + bytes([1, 2, 3, 250, 0, 255])
LABELS = bytes.fromhex("00000801 00000004") + bytes([7, 0, 9, 3])


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_literal_files(tmp_path, pack):
    (tmp_path / "images").write_bytes(pack(IMAGES))
    (tmp_path / "labels").write_bytes(pack(LABELS))
    images, labels = idx.read_idx(tmp_path / "images", 3), idx.read_idx(tmp_path / "labels", 1)
    assert images.dtype == labels.dtype == np.uint8
    assert images.tolist() == [[[1, 2, 3]], [[250, 0, 255]]]
    assert labels.tolist() == [7, 0, 9, 3]


def header(*sides, kind=8):
    return struct.pack(f">BBBB{len(sides)}I", 0, 0, kind, len(sides), *sides)


DAMAGED = {
    "empty": (b"", "must be an IDX file of unsigned bytes in 1 dimensions .*got nothing"),
    "another magic": (b"\x89PNG" + bytes(8), "got 89504e47"),
    "floats": (header(1, kind=13) + bytes(4), "got 00000d01"),
    "other dimensions": (header(1, 1) + bytes(1), "got 00000802"),
    "half a header": (header(4)[:6], "got 00000801"),
    "no values": (header(0), r"must hold 1 … 1,073,741,824 values, got the shape \(0,\)"),
    "more than the limit": (header(2**32 - 1) + bytes(8), "must hold 1 … 1,073,741,824 values"),
    "too short": (LABELS[:-1], "must hold 4 values as its header says, got 3"),
    "too long": (LABELS + b"\0", "must hold 4 values as its header says, got more"),
}


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
@pytest.mark.parametrize("what", DAMAGED)
def test_damaged_files_are_refused(tmp_path, what, pack):
    content, words = DAMAGED[what]
    (tmp_path / "labels").write_bytes(pack(content))
    with pytest.raises(FileFormatError, match=words):
        idx.read_idx(tmp_path / "labels", 1)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (gzip.compress(LABELS)[:-6], "must be one whole gzip stream, got its end early"),
        (gzip.compress(LABELS) + b"x", "must be one whole gzip stream, got bytes behind it"),
        (gzip.compress(LABELS) * 2, "must be one whole gzip stream, got bytes behind it"),
        (gzip.compress(LABELS)[:12] + bytes(20), "must be sound gzip"),
        (b"\x1f\x8b", "got nothing"),
    ],
    ids=["truncated", "trailing byte", "second stream", "noise", "two bytes"],
)
def test_damaged_gzip_is_refused(tmp_path, content, words):
    (tmp_path / "labels.gz").write_bytes(content)
    with pytest.raises(FileFormatError, match=words):
        idx.read_idx(tmp_path / "labels.gz", 1)


def test_a_wrong_checksum_is_refused(tmp_path):
    content = bytearray(gzip.compress(LABELS))
    content[-5] ^= 1
    (tmp_path / "labels.gz").write_bytes(content)
    with pytest.raises(FileFormatError, match="must be sound gzip"):
        idx.read_idx(tmp_path / "labels.gz", 1)


def test_a_gzip_bomb_is_not_unpacked(tmp_path):
    bomb = gzip.compress(header(1000) + bytes(20_000_000))
    (tmp_path / "labels.gz").write_bytes(bomb)
    del bomb
    tracemalloc.start()
    try:
        with pytest.raises(FileFormatError, match="must hold 1,000 values as its header says, got more"):
            idx.read_idx(tmp_path / "labels.gz", 1)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_larger_files_are_refused_unread(tmp_path, monkeypatch):
    monkeypatch.setattr(idx, "MAX_FILE_BYTES", 10)
    (tmp_path / "labels").write_bytes(LABELS)
    with pytest.raises(FileFormatError, match="must have at most 10 bytes, as an IDX file"):
        idx.read_idx(tmp_path / "labels", 1)


def test_what_is_no_file_is_refused(tmp_path):
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(FileFormatError):
            idx.read_idx(path, 1)


def test_the_plain_file_is_found_before_the_compressed_one(tmp_path):
    (tmp_path / "x.gz").write_bytes(b"")
    assert idx.find_idx(tmp_path, "x") == tmp_path / "x.gz"
    (tmp_path / "x").write_bytes(b"")
    assert idx.find_idx(tmp_path, "x") == tmp_path / "x"
    with pytest.raises(FileFormatError, match=r"must hold y or y\.gz"):
        idx.find_idx(tmp_path, "y")
