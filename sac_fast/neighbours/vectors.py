"""Correlation vectors of many models as bytes, the first part of which is a random subset of the correlations."""

from __future__ import annotations

import math
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from .. import _backend
from ..io.choices import VectorMetric

# 2σ² = 1, the form of the reference scripts
DEFAULT_SIGMA = math.sqrt(0.5)
#: Bytes of the subset: its error depends on this number and not on that of the correlations.
HEAD_BYTES = 512
#: Steps of a byte in one unit of correlation.
STEPS = 127.5
_LINE = 64
# Dtypes of outputs and their names for the kernels: NumPy takes longer to make a name than a view.
_DTYPES = {np.dtype(name): name for name in ("float16", "float32", "float64")}
METRICS: tuple[VectorMetric, ...] = get_args(VectorMetric)

Bytes = NDArray[np.uint8]
Order = NDArray[np.int32]
View = tuple[int, str, int, int, int, int]
Part = tuple[int, int, int, int]


@dataclass(frozen=True, eq=False)
class ByteVectors:
    """Vectors of m models, one row each: ``byte = round((c + 1) · 127.5)``.

    Attributes:
        n: probes; a vector has n(n−1)/2 correlations, and but for rbf the halved diagonal.
        order: place p of a row holds correlation order[p]. Random and secret, so that nobody can make a model that is
            near another in the subset alone.
        head: (m, 512) the subset; shorter where a vector is.
        tail: (m, …) the others; zero columns where there are none. Both are padded with zeros to whole cache lines, and
            may be memory maps.
    """

    n: int
    order: Order
    head: Bytes
    tail: Bytes

    def __len__(self) -> int:
        return len(self.head)

    def __getitem__(self, rows: slice) -> ByteVectors:
        return ByteVectors(self.n, self.order, self.head[rows], self.tail[rows])

    def take(self, rows: NDArray[np.int64]) -> ByteVectors:
        """Copies of some rows."""
        return ByteVectors(self.n, self.order, _aligned(self.head[rows]), _aligned(self.tail[rows]))

    def heads(self) -> ByteVectors:
        """The subset alone."""
        return ByteVectors(self.n, self.order, self.head, np.empty((len(self), 0), np.uint8))

    def parts(self, head_only: bool = False) -> list[Part]:
        """Pointer, rows, stride and bytes of each part, for the kernels; the caller keeps the vectors alive."""
        arrays = [self.head] if head_only or not self.tail.shape[1] else [self.head, self.tail]
        return [(a.ctypes.data, len(a), a.strides[0], a.shape[1]) for a in arrays]

    def distances(self, sums: NDArray[Any]) -> NDArray[np.float64]:
        """Sums of steps as distances ``(2/n²) Σ |x − y| / 127.5``."""
        return sums.astype(np.float64) * (2 / self.n**2 / STEPS)


def count_entries(n: int, metric: str) -> int:
    """Entries of a vector: correlations above the diagonal, and but for rbf the diagonal."""
    return n * (n - 1) // 2 + (0 if metric == "rbf" else n)


def draw_order(n: int, metric: str, seed: int | None = None) -> Order:
    """A random order of the entries; the seed is the system's entropy unless one is given."""
    generator = np.random.default_rng(secrets.randbits(128) if seed is None else seed)
    return generator.permutation(count_entries(n, metric)).astype(np.int32)


def part_bytes(n: int, metric: str) -> tuple[int, int]:
    """Bytes of a row of head and tail."""
    entries = count_entries(n, metric)
    head = min(entries, HEAD_BYTES)
    return _whole_lines(head), _whole_lines(entries - head)


def pack_vectors(
    outputs: Sequence[Any], order: Order, *, metric: VectorMetric = "cosine", sigma: float = DEFAULT_SIGMA
) -> ByteVectors:
    """The vectors of outputs.

    Args:
        outputs: m arrays or tensors (n, k_i), floating point.
        order: of `draw_order`.
        metric: "cosine", "pearson" or "rbf"; ranks stand for "spearman", with "pearson".
        sigma: of rbf.

    Returns:
        The vectors.

    Raises:
        ValueError: outputs with NaN or Inf, or of other probes.
        BackendError: the compiled module is missing.
    """
    arrays = as_arrays("outputs", outputs)
    return pack_views(arrays[0].shape[0], views(arrays), order, metric, sigma)


def pack_views(n: int, models: Sequence[View], order: NDArray[np.int32], metric: str, sigma: float) -> ByteVectors:
    """The vectors of outputs of n rows, given as `views` of arrays that are kept meanwhile."""
    head_bytes, tail_bytes = part_bytes(n, metric)
    head, tail = empty_rows(len(models), head_bytes), empty_rows(len(models), tail_bytes)
    threads, instructions = _backend.cpu_threads(), _backend.cpu_instruction_set()
    _backend.compiled().pack_bytes_cpu(
        *(models, metric, sigma, order.ctypes.data, len(order), HEAD_BYTES),
        *(head.ctypes.data, head_bytes, tail.ctypes.data, tail_bytes, threads, instructions),
    )
    return ByteVectors(n, order, head, tail)


def as_arrays(name: str, outputs: Sequence[Any]) -> list[NDArray[Any]]:
    """Outputs as floating-point arrays (n, k_i) of the same n, n ≥ 2; tensors of the CPU share their memory.

    Raises:
        TypeError, ValueError: they are none.
    """
    arrays = [_as_array(one) for one in outputs]
    if not arrays:
        raise ValueError(f"{name} must hold at least 1 model, got 0")
    for i, array in enumerate(arrays):
        if array.dtype not in _DTYPES:
            raise TypeError(f"{name}[{i}] must be floating point (float16, float32 or float64), got {array.dtype}")
        if array.ndim != 2 or array.shape[0] < 2 or array.shape[1] < 1:
            raise ValueError(f"{name}[{i}] must have shape (n, k), n ≥ 2 and k ≥ 1, got {array.shape}")
        if array.shape[0] != arrays[0].shape[0]:
            raise ValueError(f"{name}[{i}] must have {arrays[0].shape[0]} rows like {name}[0], got {array.shape[0]}")
    return arrays


def views(arrays: Sequence[NDArray[Any]]) -> list[View]:
    """Pointer, dtype, shape and strides in numbers of each, for the kernels."""
    return [
        (a.ctypes.data, _DTYPES[a.dtype], *a.shape, a.strides[0] // a.itemsize, a.strides[1] // a.itemsize)
        for a in arrays
    ]


def _as_array(one: Any) -> NDArray[Any]:
    if hasattr(one, "detach"):  # a tensor, without importing torch
        one = one.detach().cpu()
        one = one.numpy() if str(one.dtype) != "torch.bfloat16" else one.float().numpy()
    array = np.asarray(one)
    if isinstance(one, np.ma.MaskedArray):
        raise TypeError("outputs must be plain NumPy arrays, got a masked one; leave out or fill in what it masks")
    return array if array.flags.aligned else array.copy()


def _whole_lines(size: int) -> int:
    return -(-size // _LINE) * _LINE


def empty_rows(rows: int, row_bytes: int) -> Bytes:
    """Uninitialised bytes on the boundary of a cache line."""
    memory = np.empty(rows * row_bytes + _LINE, np.uint8)
    start = -memory.ctypes.data % _LINE
    return memory[start : start + rows * row_bytes].reshape(rows, row_bytes)


def _aligned(rows: Bytes) -> Bytes:
    found = empty_rows(*rows.shape)
    found[:] = rows
    return found
