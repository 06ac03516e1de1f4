"""Correlation vectors of many models on their device, as the sweeps of csrc/cuda take them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
from torch import Tensor

from .. import reference

# Bytes of what is held at a time while the vectors of a batch of models are formed
_BATCH_BYTES = 1 << 30
# What one access of the kernels moves
_ALIGNMENT = 16


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
    tell: Callable[[int, Tensor], None],
) -> Tensor:
    """What the rows first … last − 1 of each model's C add to its vector.

    The entries above the diagonal, row by row; for inner products then half of C_ii for each row, which is 0 for a row
    without direction and ½ else, so that (2/n²) Σ|v^a − v^b| is the distance whatever rows there are.

    Args:
        models: m outputs (n, k_i) on one device.
        dtype: torch.float16, float32 or float64.
        rows: first and last.
        tell: gets the number of a model, and which rows (b, n) of it and its followers are not finite; their
            correlations come out as NaN.

    Returns:
        (m, entries), padded.
    """
    n, (first, last) = models[0].shape[0], rows
    entries = slab_entries(n, first, last, metric)
    out = models[0].new_zeros(padded_shape(len(models), entries, dtype), dtype=dtype)
    above = torch.triu_indices(last - first, n - first, offset=1, device=out.device)
    above = above[0] * (n - first) + above[1]
    for start, batch in _batches(models, last - first):
        part = out[start : start + len(batch)]
        x = _normalised(batch, metric, partial(tell, start))
        c = x[:, first:last] @ x[:, first:].mT
        norms = x.square().sum(dim=2)
        if metric == "rbf":
            squared = norms[:, first:last, None] + norms[:, None, first:] - 2.0 * c
            c = torch.exp(squared.clamp_(min=0.0).mul_(-0.5 / sigma**2))
        part[:, : above.shape[0]] = c.flatten(1).index_select(1, above)
        if metric != "rbf":
            # exactly ½ or 0, whatever the norm's rounding; NaN stays
            part[:, above.shape[0] : entries] = norms[:, first:last].round() * 0.5
    return out


class FiniteRows:
    """Remembers on the device which rows of which models are not finite, and says so at the end."""

    def __init__(self, name: str, models: Sequence[Tensor]) -> None:
        self._name = name
        self._bad = torch.zeros(len(models), models[0].shape[0], dtype=torch.bool, device=models[0].device)

    def tell(self, start: int, bad: Tensor) -> None:
        """Rows `bad` (b, n) of the models from `start` on are not finite."""
        self._bad[start : start + bad.shape[0]] |= bad

    def check(self) -> None:
        """Raise for the first such row. Waits for the device; left out while a CUDA graph is captured."""
        if self._bad.is_cuda and torch.cuda.is_current_stream_capturing():
            return
        if bool(self._bad.any()):
            model, row = torch.nonzero(self._bad)[0].tolist()
            raise ValueError(f"{self._name}[{model}] must be finite, got NaN or Inf in row {row}")


def _batches(models: Sequence[Tensor], height: int) -> Iterator[tuple[int, list[Tensor]]]:
    """Runs of models of one shape and dtype, and the number of the first."""
    n = models[0].shape[0]
    start = 0
    while start < len(models):
        first = models[start]
        most = max(1, _BATCH_BYTES // (8 * n * (4 * first.shape[1] + 3 * height)))
        stop = start + 1
        while (
            stop < min(len(models), start + most)
            and models[stop].shape == first.shape
            and models[stop].dtype == first.dtype
        ):
            stop += 1
        yield start, list(models[start:stop])
        start = stop


def _normalised(batch: list[Tensor], metric: str, tell: Callable[[Tensor], None]) -> Tensor:
    """(b, n, k) float64: the normalised rows of each model, NaN where a row is not finite."""
    x = torch.stack(batch)
    b, n, k = x.shape
    bad = ~torch.isfinite(x).all(dim=2)
    tell(bad)
    rows = reference.normalised_rows(x.reshape(b * n, k), metric).reshape(b, n, k)
    return rows.masked_fill(bad[:, :, None], torch.nan)
