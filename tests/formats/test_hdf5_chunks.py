"""Chunks of HDF5 files, inflated here: as h5py reads them, and no more than they declare."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from support.bounded import bounded
from support.hostile_arrays import deflated_zeros

from sac_fast import ProbeSet
from sac_fast.errors import ModelRefusedError
from sac_fast.formats.hdf5_chunks import fill_values
from sac_fast.formats.weights.opening import open_weights
from sac_fast.models import ModelEntry, open_model

RNG = np.random.default_rng(1)
FILTERS: list[dict[str, Any]] = [
    {},
    {"compression": "gzip"},
    {"shuffle": True},
    {"fletcher32": True},
    {"compression": 9, "shuffle": True, "fletcher32": True},
]


@pytest.mark.parametrize("options", FILTERS, ids=str)
@pytest.mark.parametrize("dtype", ["u1", ">i4", "f2", "<f8", "?"])
@pytest.mark.parametrize(
    ("shape", "chunks"), [((7, 5), (3, 2)), ((7, 5), (7, 5)), ((9,), (4,)), ((5, 3, 2), (2, 2, 2))]
)
def test_values_are_those_that_h5py_reads(
    tmp_path: Path, options: dict[str, Any], dtype: str, shape: tuple[int, ...], chunks: tuple[int, ...]
) -> None:
    values = RNG.integers(0, 2 if dtype == "?" else 200, shape).astype(dtype)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("a", data=values, chunks=chunks, **options)
    with h5py.File(tmp_path / "a.h5") as file:
        for rows in (shape[0], 2):
            target = np.empty((rows, *shape[1:]), np.float64)
            fill_values(target, file["a"], "a", "'a.h5'")
            assert np.array_equal(target, file["a"][:rows])


def test_a_filter_that_was_left_out_of_a_chunk(tmp_path: Path) -> None:
    values = RNG.random((4, 3))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        dataset = file.create_dataset("a", (4, 3), "f8", chunks=(2, 3), compression="gzip", shuffle=True)
        dataset.id.write_direct_chunk((0, 0), values[:2].tobytes(), filter_mask=3)
        dataset.id.write_direct_chunk((2, 0), zlib.compress(values[2:].tobytes()), filter_mask=1)
        target = np.empty((4, 3))
        fill_values(target, dataset, "a", "'a.h5'")
        assert np.array_equal(target, values)
        assert np.array_equal(dataset[()], values)


@pytest.mark.parametrize("length", [1, 2, 719, 720, 721, 100_001])
def test_checksums_are_those_of_hdf5(tmp_path: Path, length: int) -> None:
    values = RNG.integers(0, 256, length).astype(np.uint8)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        dataset = file.create_dataset("a", data=values, chunks=(length,), fletcher32=True)
        target = np.empty(length, np.uint8)
        fill_values(target, dataset, "a", "'a.h5'")
        assert np.array_equal(target, values)
        _, raw = dataset.id.read_direct_chunk((0,))
        dataset.id.write_direct_chunk((0,), bytes([raw[0] ^ 1]) + raw[1:])
        with pytest.raises(ValueError, match="checksum"):
            fill_values(target, dataset, "a", "'a.h5'")


def bomb(path: Path, name: str, shape: tuple[int, ...], dtype: str) -> Path:
    with h5py.File(path, "w") as file:
        dataset = file.create_dataset(name, shape, dtype, chunks=shape, compression="gzip")
        dataset.id.write_direct_chunk((0,) * len(shape), deflated_zeros(400))
    return path


def test_a_bomb_in_probes_and_in_weights(tmp_path: Path) -> None:
    path = bomb(tmp_path / "probes.h5", "data", (4, 512, 256, 3), "u1")
    with (
        bounded(path.stat().st_size, seconds=2),
        pytest.raises(ModelRefusedError, match="must hold chunks of 1,572,864 bytes"),
    ):
        ProbeSet.from_hdf5(path)
    path = bomb(tmp_path / "weights.h5", "layer/kernel", (512, 512), "f4")
    with bounded(path.stat().st_size, seconds=2), open_weights(path) as file:
        (array,) = file.arrays
        with pytest.raises(ModelRefusedError, match="must hold chunks of 1,048,576 bytes"):
            array.read()


def test_probes_may_not_declare_more_than_they_store(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        dataset = file.create_dataset("data", (100, 640, 640, 3), "u1", chunks=(1, 640, 640, 3), compression="gzip")
        raw = zlib.compress(bytes(640 * 640 * 3))
        for index in range(100):
            dataset.id.write_direct_chunk((index, 0, 0, 0), raw)
    with bounded(), pytest.raises(ValueError, match="must store what it declares"):
        ProbeSet.from_hdf5(tmp_path / "a.h5")
    assert len(ProbeSet.from_hdf5(tmp_path / "a.h5", limit=3)) == 3


def test_many_chunks_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sac_fast.formats.hdf5_chunks.MAX_HDF5_CHUNKS", 3)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("data", data=np.zeros((4, 2, 2, 3), np.uint8), chunks=(1, 2, 2, 3))
    with pytest.raises(ModelRefusedError, match="at most 3 chunks at '/data', got 4"):
        ProbeSet.from_hdf5(tmp_path / "a.h5")


def test_chunks_that_are_one_another_are_refused(tmp_path: Path) -> None:
    """A tree may lead to the same 60 kB for each of its chunks of one byte: they would be inflated each time."""
    empty = zlib.compressobj(wbits=15)
    blocks = b"".join(empty.compress(b"") + empty.flush(zlib.Z_FULL_FLUSH) for _ in range(12_000))
    big = blocks + empty.compress(b"\x07") + empty.flush()
    assert len(big) > 60_000
    assert zlib.decompress(big) == b"\x07"
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        dataset = file.create_dataset("outputs", (300, 1), "u1", chunks=(1, 1), compression="gzip")
        for row in range(300):
            dataset.id.write_direct_chunk((row, 0), big if not row else zlib.compress(b"\x07"))
    raw = bytearray(path.read_bytes())
    at, place, count = raw.index(big), 0, 0
    while (place := raw.find(b"TREE", place)) >= 0:
        if raw[place + 4 : place + 6] == b"\x01\x00":  # a leaf of chunks: size, mask, three offsets, address
            for entry in range(place + 24, place + 24 + 40 * int.from_bytes(raw[place + 6 : place + 8], "little"), 40):
                raw[entry : entry + 4], raw[entry + 32 : entry + 40] = (
                    struct.pack("<I", len(big)),
                    struct.pack("<Q", at),
                )
                count += 1
        place += 4
    assert count == 300
    path.write_bytes(raw)
    with pytest.raises(ModelRefusedError, match=r"must store each chunk of 'outputs' by itself, got 17,[0-9,]+ bytes"):
        open_model(ModelEntry("a", path))
