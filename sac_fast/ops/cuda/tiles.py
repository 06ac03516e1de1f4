"""What the ops share that form C tile by tile on the tensor cores of a CUDA device: what they serve, and packing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, overload

import torch
from torch import Tensor

from ... import _backend
from .. import reference
from ..dispatch import view

# Packed rows of one model that are on the device at one time: a slab. Longer models are walked in pairs of slabs.
SLAB_BYTES = 256 << 20
# Packed slabs of suspects at one time
BATCH_BYTES = 512 << 20
# "automatic": wgmma on devices of capability 9.0, mma.sync elsewhere; or "warpgroup" or "warp" by name
KERNEL = "automatic"
# Coordinates of a row. Each chunk of 32 is added in float32; where all are equal (constant rows, hard labels) every
# addition may round the same way: 5e-7 for 1,024 coordinates, 8e-7 for 2,048, more than 1e-6 beyond.
MAX_COORDINATES = 2048
TILE_ROWS = 128
_STEP_COORDINATES = 16
# Stands for "all rows are finite" where the number of the first other row would stand
ALL_FINITE = torch.iinfo(torch.int64).max


class StackedModels(Sequence[Tensor]):
    """Models that are one tensor (m, n, k): ten thousand of them are one call, not ten thousand views."""

    def __init__(self, outputs: Tensor) -> None:
        self.outputs = outputs

    def __len__(self) -> int:
        return self.outputs.shape[0]

    @overload
    def __getitem__(self, place: int) -> Tensor: ...
    @overload
    def __getitem__(self, place: slice) -> StackedModels: ...
    def __getitem__(self, place: int | slice) -> Tensor | StackedModels:
        part = self.outputs[place]
        return StackedModels(part) if isinstance(place, slice) else part


class Packed(NamedTuple):
    """Packed rows, and 1, or 0 without direction, for each of them, padded to whole tiles."""

    data: Tensor
    norms: Tensor


def inverse_bandwidth(metric: str, sigma: float) -> float:
    """1/(2σ²) of rbf, as the kernels take it; 0 for inner products."""
    return 0.5 / sigma**2 if metric == "rbf" else 0.0


def serves(dtype: torch.dtype, metric: str, sigma: float, k: int, precision: str = "highest") -> bool:
    """True if float32-accurate products suffice: not for float64, nor for an rbf kernel that magnifies their errors,
    nor for rows so long (k coordinates) that the sum of their chunks may be wrong by more than 1e-6."""
    short = k <= MAX_COORDINATES or precision == "medium"
    return dtype != torch.float64 and inverse_bandwidth(metric, sigma) <= 1.0 + 1e-9 and short


@contextmanager
def on_device(device: torch.device) -> Iterator[int]:
    """The device is the current one within; yields its current stream as an integer."""
    with torch.cuda.device(device):
        yield torch.cuda.current_stream().cuda_stream


def capturing(device: torch.device) -> bool:
    """True while the current stream of a CUDA device is captured into a graph, which forbids synchronisation."""
    return device.type == "cuda" and torch.cuda.is_current_stream_capturing()


class Packer:
    """Packs models for the tensor cores and records on the device which rows hold NaN or Inf."""

    def __init__(self, metric: str, precision: str, models: int, device: torch.device, stream: int) -> None:
        self.module: Any = _backend.compiled("cuda")
        self.metric = metric
        self.parts = 1 if precision == "medium" else 2
        self.stream = stream
        self.bad = torch.full((models,), ALL_FINITE, dtype=torch.int64, device=device)

    def bytes(self, rows: int, k: int) -> int:
        """Size of `rows` packed rows of k coordinates."""
        return int(self.module.packed_bytes(rows, k, self.parts))

    def pack(self, models: Sequence[Tensor], number: int, rows: slice) -> Packed:
        """The same rows of models, number `number` and up among all, which have the same padded k."""
        count, size = rows.stop - rows.start, self.bytes(rows.stop - rows.start, models[0].shape[1])
        padded = -(-count // TILE_ROWS) * TILE_ROWS
        data = torch.empty(len(models) * size, dtype=torch.uint8, device=models[0].device)
        norms = torch.empty(len(models) * padded, dtype=torch.float32, device=models[0].device)
        how = (self.metric in ("pearson", "spearman"), self.parts)
        for first, many, stride, x in _runs(models, rows, self.metric == "spearman"):
            packed = (data.data_ptr() + first * size, norms.data_ptr() + first * padded * norms.element_size())
            bad = self.bad.data_ptr() + (number + first) * self.bad.element_size()
            self.module.pack_rows_cuda(view(x), many, stride, *how, *packed, rows.start, bad, self.stream)
        return Packed(data, norms)

    def form(self, packed: Packed, n: int, k: int, sigma: float, out: Tensor) -> None:
        """C of packed models of n rows: into `out` (m, n, n), or the entries above the diagonal (m, n(n−1)/2)."""
        shape = (n, n, True, self.parts, inverse_bandwidth(self.metric, sigma), KERNEL)
        self.module.correlation_matrix_tiles(
            shape, pointers(packed, packed, k), len(out), out.ndim == 2, out.data_ptr(), self.stream
        )

    def refuse_bad_rows(self, names: list[str]) -> None:
        """Raise a ValueError for the first model with NaN or Inf. Synchronises with the device, except while a graph is
        captured: the results are NaN then."""
        if capturing(self.bad.device):
            return
        for name, row in zip(names, self.bad.tolist(), strict=True):
            if row != ALL_FINITE:
                raise ValueError(f"{name} must be finite, got NaN or Inf in row {row}")


def _ranks(x: Tensor) -> Tensor:
    # ranks hide NaN and Inf, so such rows become NaN as a whole
    ranks = reference.average_ranks(x.reshape(-1, x.shape[-1])).reshape(x.shape)
    return ranks.masked_fill_(~torch.isfinite(x).all(dim=-1, keepdim=True), torch.nan)


def steps(k: int) -> int:
    """How many steps of coordinates a packed row of k has."""
    return -(-k // _STEP_COORDINATES)


def _runs(models: Sequence[Tensor], rows: slice, ranked: bool) -> Iterator[tuple[int, int, int, Tensor]]:
    """Models that lie at equal distances in memory: number of the first, how many, distance in elements, and the rows
    of the first one, or their ranks."""
    if isinstance(models, StackedModels):
        stack = models.outputs[:, rows]
        stack = _ranks(stack) if ranked else stack
        yield 0, len(models), stack.stride(0), stack[0]
        return
    places = [(x.data_ptr(), x.dtype, x.shape, x.stride()) for x in models]
    first = 0
    while first < len(models):
        end, distance, size = first + 1, 0, models[first].element_size()
        if not ranked and end < len(models):
            distance = places[end][0] - places[first][0]
            expected = (places[end][0], *places[first][1:])
            while end < len(models) and distance % size == 0 and places[end] == expected:
                end += 1
                expected = (expected[0] + distance, *expected[1:])
        x = models[first][rows]
        yield first, end - first, distance // size, _ranks(x) if ranked else x
        first = end


def pointers(rows: Packed, cols: Packed, k: int) -> tuple[int, int, int, int, int]:
    """Packed rows and columns of one model or batch, as the tile kernels take them."""
    return rows.data.data_ptr(), cols.data.data_ptr(), rows.norms.data_ptr(), cols.norms.data_ptr(), k
