"""Hostile files of recorded outputs: .npy, .npz, CSV and HDF5."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from .hostile import Maker, Payload, fixed_bytes, flipped


def npy_file(header: str, data: bytes = b"") -> bytes:
    """An .npy file with any header."""
    raw = header.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(raw)) + raw + data


def npy_bytes(value: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, value, allow_pickle=True)
    return buffer.getvalue()


def npz_bytes(compressed: bool = False, **arrays: Any) -> bytes:
    buffer = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(buffer, **arrays)
    return buffer.getvalue()


def deflated_zeros(megabytes: int) -> bytes:
    """A zlib stream of zeros, made without compressing all of them."""
    packer = zlib.compressobj(9)
    first, more = (packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH) for _ in range(2))
    check = zlib.adler32(bytes(megabytes << 20))
    return first + more * (megabytes - 1) + packer.flush()[:-4] + check.to_bytes(4, "big")


def array_files(folder: Path) -> dict[str, tuple[str, Maker]]:
    header = "{'descr': '<f8', 'fortran_order': False, 'shape': %s, }"
    objects = np.array([[Payload(folder), 1]], dtype=object)
    spoilt = np.ones((3, 2))
    spoilt[1, 1] = np.inf
    bomb = npz_bytes(True, outputs=np.zeros((30_000, 1000)))
    small = npz_bytes(True, outputs=np.ones((2, 2)))
    cases: dict[str, tuple[str, bytes]] = {
        "lying.npy": ("truncated", npy_file(header % "(1000000000, 1000)", bytes(80))),
        "lying-little.npy": ("truncated", npy_file(header % "(6, 2)", bytes(80))),
        "longer.npy": ("malformed", npy_file(header % "(4, 2)", bytes(80))),
        "overflow.npy": ("wrong-shape", npy_file(header % "(4294967296, 4294967296000000)", bytes(80))),
        "negative.npy": ("wrong-shape", npy_file(header % "(-5, -2)", bytes(80))),
        "code.npy": ("malformed", npy_file("{'descr': '<f8', 'shape': __import__('os').mkdir('x'), }")),
        "objects.npy": ("object-array", npy_bytes(objects)),
        "objects.npz": ("object-array", npz_bytes(outputs=objects)),
        "structured.npy": ("not-numbers", npy_bytes(np.zeros((2, 2), dtype=[("a", "f4")]))),
        "complex.npy": ("not-numbers", npy_bytes(np.zeros((2, 2), dtype=np.complex64))),
        "deep.npy": ("wrong-shape", npy_bytes(np.zeros((7, 1, 1)))),
        "infinite.npy": ("not-finite", npy_bytes(spoilt)),
        "bomb.npz": ("expanded", bomb),
        "several.npz": ("which-array", npz_bytes(a=np.ones((2, 2)), b=np.ones((2, 2)))),
        "checksum.npz": ("malformed", flipped(small, small.index(b"outputs.npy") + 40)),
        "ragged.csv": ("wrong-shape", b"1,2\n3\n"),
        "words.csv": ("not-numbers", b"1,2\n3,four\n"),
        "nan.csv": ("not-finite", b"1,2\n3,nan\n"),
        "columns.csv": ("too-large", b"1," * (1 << 20) + b"1\n"),
    }
    return {name: (reason, fixed_bytes(content)) for name, (reason, content) in cases.items()}


def _h5(write: Callable[[Any, Path], Any]) -> Maker:
    def make(path: Path) -> None:
        with h5py.File(path, "w") as file:
            write(file, path)

    return make


def _outside(path: Path) -> str:
    """Another HDF5 file, in the hidden folder."""
    other = path.parent / ".hidden" / "other.h5"
    if not other.exists():
        with h5py.File(other, "w") as file:
            file["far"] = file["farther"] = np.ones((4, 3))  # by itself no model either
    return f".hidden/{other.name}"


def _virtual(file: Any, path: Path) -> None:
    layout = h5py.VirtualLayout((4, 3), "f8")
    layout[:] = h5py.VirtualSource(_outside(path), "far", (4, 3))
    file.create_virtual_dataset("outputs", layout)


def _soft(file: Any, path: Path) -> None:
    file["group/real"] = np.ones((4, 3))
    file["outputs"] = h5py.SoftLink("/group/real")


def _h5_loop(file: Any, path: Path) -> None:
    file["outputs"] = h5py.SoftLink("/outputs")


def _gzip_bomb(file: Any, path: Path) -> None:
    dataset = file.create_dataset("outputs", (20_000, 1000), "f8", chunks=(1000, 1000), compression="gzip")
    chunk = zlib.compress(bytes(8_000_000))
    for start in range(0, 20_000, 1000):
        dataset.id.write_direct_chunk((start, 0), chunk)


def _chunk_bomb(file: Any, path: Path) -> None:
    """Chunks of a megabyte that inflate to 400."""
    dataset = file.create_dataset("outputs", (256, 1024), "f8", chunks=(128, 1024), compression="gzip")
    for start in (0, 128):
        dataset.id.write_direct_chunk((start, 0), deflated_zeros(400))


def _short_chunk(file: Any, path: Path) -> None:
    dataset = file.create_dataset("outputs", (4, 3), "f8", chunks=(4, 3), compression="gzip")
    dataset.id.write_direct_chunk((0, 0), zlib.compress(bytes(95)))


def _wrong_checksum(file: Any, path: Path) -> None:
    dataset = file.create_dataset("outputs", (4, 3), "f8", chunks=(4, 3), fletcher32=True)
    dataset.id.write_direct_chunk((0, 0), bytes(range(100)))


def _long_chunk(file: Any, path: Path) -> None:
    """A chunk that is itself a hundred times as large as it may be."""
    dataset = file.create_dataset("outputs", (4, 3), "f8", chunks=(4, 3), compression="gzip")
    dataset.id.write_direct_chunk((0, 0), zlib.compress(bytes(96)) + bytes(1 << 20))


def _external_storage(file: Any, path: Path) -> None:
    file.create_dataset("outputs", (4, 3), "f8", external=[("/etc/passwd", 0, 96)])


def hdf5_files() -> dict[str, tuple[str, Maker]]:
    ones = np.ones((4, 3))

    def cut(path: Path) -> None:
        _h5(lambda file, _: file.create_dataset("outputs", data=np.ones((4000, 3))))(path)
        path.write_bytes(path.read_bytes()[:-40_000])

    return {
        "external-link.h5": (
            "external-link",
            _h5(lambda f, p: f.__setitem__("outputs", h5py.ExternalLink(_outside(p), "outputs"))),
        ),
        "soft-link.h5": ("external-link", _h5(_soft)),
        "link-loop.h5": ("external-link", _h5(_h5_loop)),
        "external-storage.h5": ("external-link", _h5(_external_storage)),
        "virtual.h5": ("external-link", _h5(_virtual)),
        "fill.h5": ("expanded", _h5(lambda f, _: f.create_dataset("outputs", (1_000_000, 1_000), "f4", fillvalue=1.0))),
        "fill-chunked.h5": (
            "expanded",
            _h5(lambda f, _: f.create_dataset("outputs", (100, 10), "f8", chunks=(10, 10))),
        ),
        "gzip-bomb.h5": ("expanded", _h5(_gzip_bomb)),
        "chunk-bomb.h5": ("expanded", _h5(_chunk_bomb)),
        "short-chunk.h5": ("expanded", _h5(_short_chunk)),
        "long-chunk.h5": ("expanded", _h5(_long_chunk)),
        "checksum.h5": ("malformed", _h5(_wrong_checksum)),
        "filter.h5": ("filter", _h5(lambda f, _: f.create_dataset("outputs", data=ones, scaleoffset=2))),
        "text.h5": ("object-array", _h5(lambda f, _: f.create_dataset("outputs", data=[["a", "b"]]))),
        "group.h5": ("which-array", _h5(lambda f, _: f.create_group("outputs"))),
        "several.h5": (
            "which-array",
            _h5(lambda f, _: (f.create_dataset("a", data=ones), f.create_dataset("b", data=ones))),
        ),
        "cut.h5": ("malformed", cut),
        "rubbish.h5": ("malformed", fixed_bytes(b"\x89HDF\r\n\x1a\n" + bytes(range(256)) * 8)),
    }
