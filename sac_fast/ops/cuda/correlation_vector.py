"""`correlation_vector` on a CUDA device, and the vectors of many models as the sweeps of csrc/cuda take them.

A model's vector is the same to the last bit wherever it stands and whatever stands beside it, so that identical models
are at distance 0: batches always have the same shape, and their rows the same alignment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from .. import reference
from . import tiles as cuda_tiles
from .correlation_matrix import matrices
from .tiles import ALL_FINITE, StackedModels

# Float64 numbers of a batch, whatever the number of models
_BATCH_NUMBERS = 1 << 23
# Of packed models, and of their vectors, at a time
_TILE_BYTES = 1 << 29
# Coordinates are padded to whole lines of memory: sums of aligned rows have one order
_LINE = 16
# What one access of the kernels moves, in bytes
_ALIGNMENT = 16


def correlation_vector(outputs: Tensor, metric: str, sigma: float) -> Tensor:
    """`sac_fast.correlation_vector` on the outputs' CUDA device."""
    if cuda_tiles.serves(outputs.dtype, metric, sigma, outputs.shape[1]):
        return matrices([outputs], metric, sigma, True, ["outputs"])[0]
    return reference.correlation_vector(outputs, metric=metric, sigma=sigma)


def padded(rows: Tensor) -> Tensor:
    """(m, p) as the kernels read it: 16 bytes aligned, zeros up to whole accesses. A copy only where it has to be."""
    step = _ALIGNMENT // rows.element_size()
    if rows.shape[1] % step == 0 and rows.is_contiguous() and rows.data_ptr() % _ALIGNMENT == 0:
        return rows
    out = rows.new_zeros(padded_shape(rows.shape[0], rows.shape[1], rows.dtype))
    out[:, : rows.shape[1]] = rows
    return out


def padded_shape(models: int, entries: int, dtype: torch.dtype) -> tuple[int, int]:
    """Shape of `models` padded rows of `entries`."""
    step = _ALIGNMENT // dtype.itemsize
    return models, -(-entries // step) * step


def slab_entries(n: int, first: int, last: int, metric: str) -> int:
    """How many entries `correlation_rows` gives for the rows first … last − 1 of C."""
    height = last - first
    return height * n - (first + last + 1) * height // 2 + (0 if metric == "rbf" else height)


def correlation_rows(
    models: Sequence[Tensor],
    metric: str,
    sigma: float,
    dtype: torch.dtype,
    rows: tuple[int, int],
    report: Callable[[int, Tensor], None],
) -> Tensor:
    """What the rows first … last − 1 of each model's C add to its vector.

    The entries above the diagonal, row by row; for inner products then half of C_ii for each row, which is 0 for a row
    without direction and ½ else, so that (2/n²) Σ|v^a − v^b| is the distance whatever rows there are.

    Args:
        models: m outputs (n, k_i) on one device.
        dtype: torch.float16, float32 or float64.
        rows: first and last.
        report: gets the number of a model, and of it and its followers (b,) the first row that is not finite, or
            ALL_FINITE; such rows' correlations come out as NaN.

    Returns:
        (m, entries), padded.
    """
    n, (first, last) = models[0].shape[0], rows
    entries = slab_entries(n, first, last, metric)
    out = models[0].new_zeros(padded_shape(len(models), entries, dtype), dtype=dtype)
    # a model's own k decides, so that its vector does not depend on those beside it
    tiles = rows == (0, n) and cuda_tiles.serves(dtype, metric, sigma, 1)
    if tiles and _form_on_tensor_cores(models, metric, sigma, out, report):
        return out
    above = torch.triu_indices(last - first, n - first, offset=1, device=out.device)
    above = above[0] * (n - first) + above[1]
    for size, runs in _batches(models, last - first, cuda_tiles.MAX_COORDINATES if tiles else 0):
        raw = [models[i] for start, stop in runs for i in range(start, stop)]
        x, bad = _normalised(raw, size, metric)
        c = x[:, first:last] @ x[:, first:].mT
        norms = x.square().sum(dim=2)
        if metric == "rbf":
            squared = norms[:, first:last, None] + norms[:, None, first:] - 2.0 * c
            c = torch.exp(squared.clamp_(min=0.0).mul_(-0.5 / sigma**2))
        upper = c.flatten(1).index_select(1, above)
        place = 0
        for start, stop in runs:
            here = slice(place, place := place + stop - start)
            report(start, torch.where(bad[here].any(dim=1), bad[here].int().argmax(dim=1), ALL_FINITE))
            out[start:stop, : above.shape[0]] = upper[here]
            if metric != "rbf":
                # exactly ½ or 0, whatever the norm's rounding; NaN stays
                out[start:stop, above.shape[0] : entries] = norms[here, first:last].round() * 0.5
    return out


def _form_on_tensor_cores(
    models: Sequence[Tensor], metric: str, sigma: float, out: Tensor, report: Callable[[int, Tensor], None]
) -> bool:
    """All of each model's C into its row of `out`: float32-accurate, the same bits wherever a model stands. False if
    models are left out, those longer than MAX_COORDINATES."""
    n, device = models[0].shape[0], out.device
    above, all_of_them = n * (n - 1) // 2, True
    with cuda_tiles.on_device(device) as stream:
        packer = cuda_tiles.Packer(metric, "highest", len(models), device, stream)
        for start, stop in _neighbours(models, packer, 4 * above):
            if models[start].shape[1] > cuda_tiles.MAX_COORDINATES:
                all_of_them = False
                continue
            packed = packer.pack(models[start:stop], start, slice(0, n))
            vectors = torch.empty(stop - start, above, dtype=torch.float32, device=device)
            packer.form(packed, n, models[start].shape[1], sigma, vectors)
            out[start:stop, :above] = vectors
            if metric != "rbf":
                out[start:stop, above : above + n] = packed.norms.view(stop - start, -1)[:, :n] * 0.5
    report(0, packer.bad)
    return all_of_them


def _neighbours(models: Sequence[Tensor], packer: cuda_tiles.Packer, vector_bytes: int) -> Iterator[tuple[int, int]]:
    """Runs of models of one padded k, as many as are packed, and their vectors formed, at a time."""
    n, start = models[0].shape[0], 0
    while start < len(models):
        steps = cuda_tiles.steps(models[start].shape[1])
        most = max(1, min(_TILE_BYTES // packer.bytes(n, models[start].shape[1]), _TILE_BYTES // vector_bytes))
        stop = min(len(models), start + most) if isinstance(models, StackedModels) else start + 1
        while stop < len(models) and stop - start < most and cuda_tiles.steps(models[stop].shape[1]) == steps:
            stop += 1
        yield start, stop
        start = stop


class FiniteRows:
    """Records on the device which models have a row that is not finite; `check` raises for them at the end."""

    def __init__(self, name: str, models: Sequence[Tensor]) -> None:
        self._name = name
        self._first = torch.full((len(models),), ALL_FINITE, dtype=torch.int64, device=models[0].device)

    def report(self, start: int, first: Tensor) -> None:
        """The first such row (b,), or ALL_FINITE, of the models from `start` on."""
        here = self._first[start : start + len(first)]
        torch.minimum(here, first, out=here)

    def check(self) -> None:
        """Raise for the first such model. Synchronises with the device; does nothing while a CUDA graph is captured."""
        if cuda_tiles.capturing(self._first.device):
            return
        wrong = self._first != ALL_FINITE
        if bool(wrong.any()):
            model = int(torch.nonzero(wrong)[0, 0])
            row = int(self._first[model])
            raise ValueError(f"{self._name}[{model}] must be finite, got NaN or Inf in row {row}")


def _batches(models: Sequence[Tensor], height: int, longer_than: int) -> Iterator[tuple[int, list[tuple[int, int]]]]:
    """How many models of one k, above `longer_than`, fit into a batch, and runs (start, stop) of them that do."""
    n = models[0].shape[0]
    numbers_of: dict[int, list[int]] = {}
    for i, model in enumerate(models):
        if model.shape[1] > longer_than:
            numbers_of.setdefault(model.shape[1], []).append(i)
    for k, numbers in numbers_of.items():
        size = max(1, _BATCH_NUMBERS // (n * (_whole_lines(k) + height)))
        for at in range(0, len(numbers), size):
            runs: list[tuple[int, int]] = []
            for i in numbers[at : at + size]:
                if runs and runs[-1][1] == i:
                    runs[-1] = (runs[-1][0], i + 1)
                else:
                    runs.append((i, i + 1))
            yield size, runs


def _whole_lines(k: int) -> int:
    return -(-k // _LINE) * _LINE


def _normalised(batch: list[Tensor], size: int, metric: str) -> tuple[Tensor, Tensor]:
    """`reference.normalised_rows` of each model, (size, n, padded k) float64, and which rows (b, n) are not finite.

    Those are NaN. Models beyond the batch, and coordinates beyond k, are 0.
    """
    n, k = batch[0].shape
    x = torch.zeros(size, n, _whole_lines(k), dtype=torch.float64, device=batch[0].device)
    inside = x[: len(batch), :, :k]
    inside.copy_(torch.stack(batch))
    bad = ~torch.isfinite(inside).all(dim=2)
    if metric == "spearman":
        inside.copy_(reference.average_ranks(inside.reshape(-1, k)).reshape(inside.shape))
    x = _scaled(x)
    if metric in ("pearson", "spearman"):
        x[:, :, :k] -= x[:, :, :1].clone()
        mean = x.sum(dim=2, keepdim=True) / k
        x[:, :, :k] -= mean
        x = _scaled(x)
    norm = x.square().sum(dim=2, keepdim=True).sqrt_()
    x /= torch.where(norm > 0, norm, 1.0)
    x[: len(batch)].masked_fill_(bad[:, :, None], torch.nan)
    return x, bad


def _scaled(x: Tensor) -> Tensor:
    # magnitude 1 before anything is squared: no overflow, nothing lost at any scale
    largest = x.abs().amax(dim=2, keepdim=True)
    return x / torch.where(largest > 0, largest, 1.0)
