"""The first block of HDF5 files: what it may ask of the library, at any place where a file may begin."""

from __future__ import annotations

import struct
from pathlib import Path

import h5py
import numpy as np
import pytest
from support.bounded import bounded

from sac_fast import ProbeSet
from sac_fast.errors import FileFormatError, ModelRefusedError
from sac_fast.formats.hdf5_open import find_superblock, open_hdf5
from sac_fast.formats.identify import identify
from sac_fast.formats.weights.opening import open_weights
from sac_fast.models import ModelEntry, open_model

VALUES = np.arange(12, dtype=np.float32).reshape(4, 3)
# Offsets of version 0, from the start of the superblock: 24 bytes, then addresses of 8 bytes each.
FREE_SPACE, DRIVER = 32, 48


def written(path: Path, libver: str = "earliest", user_block: int = 0) -> Path:
    with h5py.File(path, "w", libver=libver, userblock_size=user_block) as file:
        file["outputs"] = VALUES
    return path


def changed(path: Path, place: int, address: int, start: int = 0) -> Path:
    content = bytearray(path.read_bytes())
    struct.pack_into("<Q", content, start + place, address)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("libver", ["earliest", "v108", "latest"])
@pytest.mark.parametrize("user_block", [0, 512, 1024, 4096])
def test_files_of_every_version_and_beginning_are_read(tmp_path: Path, libver: str, user_block: int) -> None:
    path = written(tmp_path / "a", libver, user_block)
    with path.open("rb") as handle:
        assert find_superblock(handle) == user_block
        with open_hdf5(handle, "a") as file:
            np.testing.assert_array_equal(file["outputs"][:], VALUES)
    assert identify(path) == "hdf5"


@pytest.mark.parametrize("user_block", [0, 512])
@pytest.mark.parametrize("place", [FREE_SPACE, DRIVER])
def test_a_block_for_a_driver_of_several_files_is_not_read(tmp_path: Path, place: int, user_block: int) -> None:
    """The library takes the memory that such a block claims: 2 GB for a file of 145 kB that fuzzing found."""
    path = written(tmp_path / "a", user_block=user_block)
    claimed = struct.pack("<BBBBI8s", 0, 0, 0, 0, 0x7FFFFFF0, b"NCSAmult")
    path.write_bytes(path.read_bytes() + claimed)
    changed(path, place, path.stat().st_size - len(claimed) - user_block, user_block)
    message = "must be one HDF5 file, got one of a driver for several"
    with bounded(path.stat().st_size):
        with pytest.raises(ModelRefusedError, match=message) as caught, open_weights(path):
            pass
        assert caught.value.reason == "malformed"
        with pytest.raises(ModelRefusedError, match=message), open_model(ModelEntry("a", path)):
            pass
        with pytest.raises(FileFormatError, match=message):
            ProbeSet.from_hdf5(path)


@pytest.mark.parametrize("length", [8, 9, 14, 30, 60, 95])
def test_files_that_end_in_their_first_block_are_refused(tmp_path: Path, length: int) -> None:
    path = tmp_path / "a"
    path.write_bytes(written(tmp_path / "whole").read_bytes()[:length])
    with pytest.raises(ModelRefusedError, match="must be"), path.open("rb") as handle:
        open_hdf5(handle, "a")


def test_what_is_no_hdf5_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 5000)
    with (tmp_path / "a").open("rb") as handle, pytest.raises(ModelRefusedError, match="HDF5 file, got no signature"):
        open_hdf5(handle, "a")
