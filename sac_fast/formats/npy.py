"""Recorded outputs in ``.npy`` files, read without allocating what a header merely claims."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from ..io.lazy import LazyModule
from .limits import Limits, refuse, refuse_errors

if TYPE_CHECKING:
    import torch
else:  # what runs no network starts without its two seconds
    torch = LazyModule("torch")

_CHUNK_BYTES = 1 << 20
_WEIGHTS = re.compile(
    r"((^|[./_ :-])(weights?|kernel|bias|gamma|beta|embeddings?|(running|moving)_(mean|var(iance)?))"
    r"|[./_ :-][wb]\d*|^w\d*)(:\d+)?$",
    re.IGNORECASE,
)
# They evaluate literals only and refuse long headers.
_HEADER_READERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def read_npy(
    handle: BinaryIO, name: str, limits: Limits, size: int, key: str = "array", *, file_bytes: int | None = None
) -> torch.Tensor:
    """Read one array from where ``handle`` stands.

    Args:
        handle: at the array's magic.
        name: what messages call the file.
        limits: on sizes.
        size: bytes from here to the array's end, header included.
        key: what messages call the array.
        file_bytes: of the file, where the array is compressed in it; None: ``size``.

    Returns:
        float32 or float64 ``(n, k)``.

    Raises:
        ModelRefusedError: not such an array, or not as long as its header says.
    """
    start = handle.tell()
    shape, fortran, dtype = read_npy_header(handle, name, key)
    target = output_dtype(dtype, name, key)
    shape = check_output_shape(shape, name, key)
    declared, stored = math.prod(shape) * dtype.itemsize, size - (handle.tell() - start)
    if declared != stored:
        reason = "truncated" if declared > stored else "malformed"
        refuse(reason, f"{name} must hold {declared:,} bytes at {key!r} as its header says, got {stored:,}")
    needed = math.prod(shape) * target.itemsize
    limits.check_tensor(name, key, needed, needed)
    # A transposed array is copied once more.
    limits.check_expansion(name, key, needed * (2 if fortran else 1), file_bytes or size)
    result = torch.empty(tuple(shape[::-1] if fortran else shape), dtype=target)
    fill(result, handle, dtype, name)
    return result.T.contiguous() if fortran else result


def read_npy_header(handle: BinaryIO, name: str, key: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether columns come first, and dtype; ``handle`` is left where the values begin.

    Raises:
        ModelRefusedError: a damaged header, or one of another version than 1 and 2.
    """
    with refuse_errors(f"{name} must hold an .npy array at {key!r}"):  # a damaged literal raises almost anything
        version = np.lib.format.read_magic(handle)
        if version not in _HEADER_READERS:
            refuse("malformed", f"{name} must hold an .npy array of version 1 or 2 at {key!r}, got {version}")
        shape, fortran, dtype = _HEADER_READERS[version](handle)
    return shape, fortran, dtype


def output_dtype(dtype: np.dtype[Any], name: str, key: str) -> torch.dtype:
    """float64 for float64 and wide integers, float32 for what float32 holds exactly.

    Raises:
        ModelRefusedError: no real numbers.
    """
    if dtype.hasobject:
        refuse("object-array", f"{name} must hold numbers at {key!r}, got Python objects, which need code to run")
    if dtype.kind not in "fiu" or dtype.itemsize > 8 or dtype.subdtype is not None:
        refuse("not-numbers", f"{name} must hold real numbers at {key!r}, got {dtype}")
    exact = dtype.itemsize <= (4 if dtype.kind == "f" else 2)
    return torch.float32 if exact else torch.float64


def check_output_shape(shape: tuple[int, ...], name: str, key: str) -> tuple[int, int]:
    """Refuse what is not (n, k) with n and k at least 1, or (n,), which becomes (n, 1)."""
    whole = all(type(side) is int and 0 < side < 1 << 48 for side in shape)
    if len(shape) not in (1, 2) or not whole:
        refuse("wrong-shape", f"{name} must hold recorded outputs (n, k) or (n,) at {key!r}, got shape {shape}")
    return shape[0], 1 if len(shape) == 1 else shape[1]


def fill(result: torch.Tensor, handle: BinaryIO, dtype: np.dtype[Any], name: str) -> None:
    """Fill a tensor with the stream's values in pieces, so that a conversion never holds both arrays."""
    target = result.reshape(-1).numpy()
    step = _CHUNK_BYTES // dtype.itemsize
    for start in range(0, target.size, step):
        count = min(step, target.size - start)
        piece = handle.read(count * dtype.itemsize)
        if len(piece) != count * dtype.itemsize:
            refuse("truncated", f"{name} must keep its size while it is read, got its end early")
        target[start : start + count] = np.frombuffer(piece, dtype)


def taken_as_outputs(key: str, given: str | None, shape: Sequence[int], name: str) -> str:
    """What is said of an array that is taken as recorded outputs.

    Args:
        key: its name; of a file of one array that of the file.
        given: the name that the user gave, who knows what it is; None: none.
        shape: (n, k).
        name: what messages call the file.

    Raises:
        ModelRefusedError: nobody named it, and it is named like weights.
    """
    if given is None and _WEIGHTS.search(key):
        found = f"{key!r} of shape {tuple(shape)}, which is named like weights"
        refuse("looks-like-weights", f"{name} must hold recorded outputs, got {found}; --output {key} takes it as them")
    return f"array {key!r} taken as recorded outputs: {shape[0]} rows of {shape[1]}"


def choose_array(names: Sequence[str], key: str | None, name: str) -> str:
    """The array that is meant among several: the one that ``key`` names, ``outputs``, or the only one."""
    if key is None and "outputs" not in names and len(names) != 1:
        refuse("which-array", f"{name} must hold the array outputs or one only, got {names[:5]}; name it as output")
    if key is not None:
        return key
    return "outputs" if "outputs" in names else names[0]
