"""Ops that form C tile by tile on the tensor cores of a CUDA device: packing, slabs of rows, batches of suspects."""

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
LONGEST = 2048
_TILE_ROWS = 128
_STEP_COORDINATES = 16
# Where others have the number of a row that is not finite
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
    short = k <= LONGEST or precision == "medium"
    return dtype != torch.float64 and inverse_bandwidth(metric, sigma) <= 1.0 + 1e-9 and short


@contextmanager
def on_device(device: torch.device) -> Iterator[int]:
    """The device is the current one within; yields its current stream as an integer."""
    with torch.cuda.device(device):
        yield torch.cuda.current_stream().cuda_stream


def capturing(device: torch.device) -> bool:
    """True while the current stream of a CUDA device is captured into a graph: nobody may wait for the device then."""
    return device.type == "cuda" and torch.cuda.is_current_stream_capturing()


class Packer:
    """Packs models for the tensor cores and keeps in mind which rows hold NaN or Inf."""

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
        padded = -(-count // _TILE_ROWS) * _TILE_ROWS
        data = torch.empty(len(models) * size, dtype=torch.uint8, device=models[0].device)
        norms = torch.empty(len(models) * padded, dtype=torch.float32, device=models[0].device)
        for first, many, stride, x in _runs(models, rows, self.metric == "spearman"):
            self.module.pack_rows_cuda(
                view(x),
                many,
                stride,
                self.metric in ("pearson", "spearman"),
                self.parts,
                data.data_ptr() + first * size,
                norms.data_ptr() + first * padded * norms.element_size(),
                rows.start,
                self.bad.data_ptr() + (number + first) * self.bad.element_size(),
                self.stream,
            )
        return Packed(data, norms)

    def form(self, packed: Packed, n: int, k: int, sigma: float, out: Tensor) -> None:
        """C of packed models of n rows: into `out` (m, n, n), or the entries above the diagonal (m, n(n−1)/2)."""
        shape = (n, n, True, self.parts, inverse_bandwidth(self.metric, sigma), KERNEL)
        self.module.correlation_matrix_tiles(
            shape, _pointers(packed, packed, k), len(out), out.ndim == 2, out.data_ptr(), self.stream
        )

    def refuse_bad_rows(self, names: list[str]) -> None:
        """Raise a ValueError for the first model with NaN or Inf; waits for the device. Not while a graph is captured:
        the results are NaN then."""
        if capturing(self.bad.device):
            return
        for name, row in zip(names, self.bad.tolist(), strict=True):
            if row != ALL_FINITE:
                raise ValueError(f"{name} must be finite, got NaN or Inf in row {row}")


def distances(
    source: Tensor, suspects: list[Tensor], metric: str, sigma: float, precision: str, names: list[str]
) -> Tensor:
    """(1/n²) Σ|C^source − C^s| for each suspect: (m,) float64 on the device. `names` of the source and the suspects."""
    n = source.shape[0]
    with on_device(source.device) as stream:
        packer = Packer(metric, precision, 1 + len(suspects), source.device, stream)
        slabs = _slabs(packer, n, max(x.shape[1] for x in (source, *suspects)))
        once = packer.pack([source], 0, slabs[0]) if len(slabs) == 1 else None
        bandwidth = inverse_bandwidth(metric, sigma)
        sums = []
        for first, batch in _batches(packer, suspects, slabs[0].stop):
            total = None
            for i, rows in enumerate(slabs):
                a, b = once or packer.pack([source], 0, rows), packer.pack(batch, 1 + first, rows)
                for cols in slabs[i:]:
                    square = cols is rows
                    a_cols = a if square else packer.pack([source], 0, cols)
                    b_cols = b if square else packer.pack(batch, 1 + first, cols)
                    shape = (rows.stop - rows.start, cols.stop - cols.start, square, packer.parts, bandwidth, KERNEL)
                    pairs = (_pointers(a, a_cols, source.shape[1]), _pointers(b, b_cols, batch[0].shape[1]))
                    sum_ = _sums(packer, shape, *pairs, len(batch), source.device)
                    total = sum_ if total is None else total + sum_
            assert total is not None
            sums.append(total)
        result = (torch.cat(sums) if len(sums) > 1 else sums[0]) / n**2
        packer.refuse_bad_rows(names)
    return result


def matrices(models: list[Tensor], metric: str, sigma: float, vector: bool, names: list[str]) -> Tensor:
    """C of models of one n and padded k: (m, n, n) float32, or (`vector`) the entries above the diagonal,
    (m, n(n−1)/2)."""
    n, m = models[0].shape[0], len(models)
    with on_device(models[0].device) as stream:
        packer = Packer(metric, "highest", m, models[0].device, stream)
        packed = packer.pack(models, 0, slice(0, n))
        out = torch.empty((m, n * (n - 1) // 2) if vector else (m, n, n), device=models[0].device, dtype=torch.float32)
        packer.form(packed, n, models[0].shape[1], sigma, out)
        packer.refuse_bad_rows(names)
    return out


def _ranks(x: Tensor) -> Tensor:
    # ranks hide NaN and Inf, so such rows become NaN as a whole
    ranks = reference.average_ranks(x.reshape(-1, x.shape[-1])).reshape(x.shape)
    return ranks.masked_fill_(~torch.isfinite(x).all(dim=-1, keepdim=True), torch.nan)


def steps(k: int) -> int:
    """How many steps of coordinates a packed row of k has."""
    return -(-k // _STEP_COORDINATES)


def _slabs(packer: Packer, n: int, k: int) -> list[slice]:
    """Rows 0 … n − 1 in slabs of whole tiles, as few as SLAB_BYTES allows."""
    most = max(1, SLAB_BYTES // packer.bytes(_TILE_ROWS, k)) * _TILE_ROWS
    return [slice(start, min(n, start + most)) for start in range(0, n, most)]


def _batches(packer: Packer, suspects: list[Tensor], rows: int) -> Iterator[tuple[int, list[Tensor]]]:
    """Neighbours of the same padded k, as many as BATCH_BYTES allows, with the number of the first."""
    first = 0
    while first < len(suspects):
        k = suspects[first].shape[1]
        most = max(1, BATCH_BYTES // packer.bytes(rows, k))
        end = first + 1
        while end < len(suspects) and end - first < most and steps(suspects[end].shape[1]) == steps(k):
            end += 1
        yield first, suspects[first:end]
        first = end


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
            while (
                end < len(models)
                and distance % size == 0
                and places[end][0] - places[end - 1][0] == distance
                and places[end][1:] == places[first][1:]
            ):
                end += 1
        x = models[first][rows]
        yield first, end - first, distance // size, _ranks(x) if ranked else x
        first = end


def _pointers(rows: Packed, cols: Packed, k: int) -> tuple[int, int, int, int, int]:
    return (
        rows.data.data_ptr(),
        cols.data.data_ptr(),
        rows.norms.data_ptr(),
        cols.norms.data_ptr(),
        k,
    )


def _sums(packer: Packer, shape: Any, source: Any, suspects: Any, count: int, device: torch.device) -> Tensor:
    blocks = packer.module.correlation_distances_tiles_blocks(shape, count)
    partial = torch.empty(count, blocks, dtype=torch.float64, device=device)
    packer.module.correlation_distances_tiles(shape, source, suspects, count, partial.data_ptr(), packer.stream)
    return partial.sum(dim=1)
