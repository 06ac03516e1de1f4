"""Recorded outputs in HDF5 files: one dataset (n, k), stored in the file itself and stored in full."""

from __future__ import annotations

import math
from typing import Any, BinaryIO

import h5py
import torch

from ..io.files import file_size
from .hdf5_chunks import FILTERS, check_chunks, fill_values
from .hdf5_open import open_hdf5
from .limits import Limits, refuse, refuse_errors
from .npy import check_output_shape, choose_array, output_dtype


def read_hdf5_outputs(handle: BinaryIO, name: str, limits: Limits, key: str | None) -> tuple[str, torch.Tensor]:
    """Read ``/outputs``, or the only dataset at the top, or the one that ``key`` names.

    Args:
        handle: the open file.
        name: what messages call it.
        limits: on sizes.
        key: path of the dataset; None: see above.

    Returns:
        The dataset's path, and float32 or float64 ``(n, k)``.

    Raises:
        ModelRefusedError: links, other files, filters that need plug-ins, values that are declared but not stored.
    """
    with (
        refuse_errors(f"{name} must be a sound HDF5 file"),
        open_hdf5(handle, name) as file,
    ):
        found = _find(file, key, name, limits)
        return found, _read(file[found], found, name, limits, file_size(handle))


def _find(file: Any, key: str | None, name: str, limits: Limits) -> str:
    limits.check_count(name, len(file), "names at the top")
    key = choose_array(list(file), key, name)  # listing names follows no link
    group = file
    parts = [part for part in key.split("/") if part]
    for part in parts:
        if not isinstance(group, h5py.Group) or not group.id.links.exists(part.encode()):
            refuse("which-array", f"{name} must have the dataset {key!r}, got none")
        # A link could name any file of this machine, or lead in circles.
        if group.id.links.get_info(part.encode()).type != h5py.h5l.TYPE_HARD:
            refuse("external-link", f"{name} must store {key!r} itself, got a soft or external link")
        group = group[part]
    if not isinstance(group, h5py.Dataset):
        refuse("which-array", f"{name} must have a dataset at {key!r}, got {type(group).__name__}")
    return "/".join(parts)


def check_dataset(dataset: Any, key: str, name: str, limits: Limits, file_bytes: int, itemsize: int) -> int:
    """Refuse a dataset whose values do not all lie in the file, or that is too large.

    Args:
        dataset: of h5py.
        key: its path, for messages.
        name: what messages call the file.
        limits: on its size.
        file_bytes: of the whole file.
        itemsize: bytes of one value in memory.

    Returns:
        Its bytes in memory.

    Raises:
        ModelRefusedError: other files, filters that need plug-ins, values that are declared but not stored, a limit.
    """
    if dataset.is_virtual or dataset.external:
        refuse("external-link", f"{name} must store {key!r} itself, got a dataset whose values lie in other files")
    plan = dataset.id.get_create_plist()
    filters = {plan.get_filter(index)[0] for index in range(plan.get_nfilters())}
    if not filters <= FILTERS:
        wanted = "no filters but gzip, lzf, shuffle and fletcher32"
        refuse("filter", f"{name} must use {wanted} at {key!r}, got {sorted(filters)}")
    declared, stored = math.prod(dataset.shape) * dataset.dtype.itemsize, dataset.id.get_storage_size()
    needed: int = math.prod(dataset.shape) * itemsize
    limits.check_tensor(name, key, needed, needed)
    limits.check_expansion(name, key, needed, file_bytes)
    if dataset.chunks:
        check_chunks(dataset, key, name)
    elif stored != declared:
        refuse("expanded", f"{name} must store every value of {key!r}, got {stored:,} bytes stored of {declared:,}")
    return needed


def _read(dataset: Any, key: str, name: str, limits: Limits, file_bytes: int) -> torch.Tensor:
    target = output_dtype(dataset.dtype, name, key)
    check_output_shape(dataset.shape or (), name, key)
    check_dataset(dataset, key, name, limits, file_bytes, target.itemsize)
    result = torch.empty(dataset.shape, dtype=target)
    fill_values(result.numpy(), dataset, key, name)
    return result if result.ndim > 1 else result[:, None]
