"""Changes of one dataset of an HDF5 file, or of one chunk of it; the library writes all that lies around them."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from random import Random
from typing import Any

import h5py
import numpy as np

from sac_fast.errors import ModelRefusedError
from sac_fast.formats.hdf5_chunks import fill_values

_MAX_BYTES = 1 << 16
_DTYPES = ("u1", "<i2", ">u4", "<i8", "<f2", ">f8", "?", "<c8", "S3", "V5")
_SIDES = (0, 1, 2, 3, 5, 64, 1 << 20)
_NAMES = ("data", "label", "outputs", "layer/kernel", "data/data", "é", "x" * 300)


def rebuilt(content: bytes, random: Random, damage: Callable[[bytes], bytes]) -> bytes:
    """The file written anew, with one of its datasets changed.

    Raises:
        Exception: of h5py, where the file cannot be read.
    """
    found: dict[str, Any] = {}

    def keep(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset) and item.nbytes <= _MAX_BYTES:
            values = np.empty(item.shape, item.dtype)
            # by our own filters: those of the library crash where what they get is damaged
            with contextlib.suppress(ModelRefusedError, ValueError, LookupError):
                fill_values(values, item, name, "a file")
                found[name] = (values, {key: getattr(item, key) for key in _OPTIONS})

    with h5py.File(io.BytesIO(content), "r") as file:
        file.visititems(keep)
    chosen = random.choice(sorted(found))
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        for name, (values, options) in found.items():
            if name != chosen:
                file.create_dataset(name, data=values, **options)
        _write_changed(file, chosen, *found[chosen], random, damage)
    return buffer.getvalue()


_OPTIONS = ("chunks", "compression", "compression_opts", "shuffle", "fletcher32", "maxshape")


def _write_changed(
    file: Any, name: str, values: Any, options: dict[str, Any], random: Random, damage: Callable[[bytes], bytes]
) -> None:
    kind = random.randrange(8)
    if kind == 0:
        file.create_dataset(random.choice(_NAMES), data=values, **options)
    elif kind == 1:
        raw = np.frombuffer(damage(values.tobytes()), np.uint8)
        dtype = np.dtype(random.choice((values.dtype.str, *_DTYPES)))
        file[name] = raw[: len(raw) // dtype.itemsize * dtype.itemsize].view(dtype)
    elif kind == 2:
        shape = tuple(random.choice((side, *_SIDES)) for side in values.shape)
        file.create_dataset(name, shape, values.dtype, chunks=tuple(min(max(side, 1), 8) for side in shape))
    elif kind == 3:
        links = (h5py.SoftLink("/" + random.choice(_NAMES)), h5py.ExternalLink("/dev/zero", "/data"))
        file[name] = random.choice(links)
    elif kind == 4:
        file.create_group(name)
    elif kind == 5:
        file.create_dataset(name, values.shape, values.dtype, fillvalue=random.choice((0, 1)))
    else:
        _write_chunk(file, name, values, options, random, damage)


def _write_chunk(
    file: Any, name: str, values: Any, options: dict[str, Any], random: Random, damage: Callable[[bytes], bytes]
) -> None:
    """One chunk stored as other bytes than its filters make, or with some of them said to be left out."""
    chunks = options["chunks"] or tuple(max(1, -(-side // 2)) for side in values.shape)
    filters = options | {"compression": random.choice(("gzip", "lzf", None)), "compression_opts": None}
    dataset = file.create_dataset(name, data=values, **filters | {"chunks": chunks})
    place = tuple(random.randrange(-(-n // c)) * c for n, c in zip(values.shape, chunks, strict=True))
    mask, raw = dataset.id.read_direct_chunk(place)
    dataset.id.write_direct_chunk(place, damage(raw), random.choice((mask, mask, 1, 2, 3, 255)))
