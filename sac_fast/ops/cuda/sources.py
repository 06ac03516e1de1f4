"""Where the CUDA nearest-models sweep gets its rows from: stored vectors, on the device or not, or models' outputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from .correlation_vector import FiniteRows, correlation_rows, padded, padded_shape, slab_entries
from .tiles import capturing


class Source(Protocol):
    """Rows whose L1 distances are n²/2 times the models'."""

    models: int
    device: torch.device
    dtype: torch.dtype
    pitch: int  # bytes of a padded row

    def rows(self, first: int, last: int) -> Tensor:
        """Rows first … last − 1, padded, on the device."""

    def check(self) -> None:
        """Raise if a row that was asked for is not finite."""


class StoredVectors:
    """Vectors as they are stored; on the host they may be a memory map."""

    def __init__(self, vectors: Tensor, device: torch.device) -> None:
        self.models, self.dtype = vectors.shape[0], vectors.dtype
        self.pitch = padded_shape(1, vectors.shape[1], self.dtype)[1] * self.dtype.itemsize
        self._vectors, self.device = vectors, device
        self._wrong = torch.zeros((), dtype=torch.bool, device=device)

    def rows(self, first: int, last: int) -> Tensor:
        rows = padded(self._vectors[first:last].to(self.device))
        if self.dtype != torch.uint8:
            # without a temporary of the rows' size
            self._wrong |= ~torch.stack(torch.aminmax(rows)).isfinite().all()
        return rows

    def check(self) -> None:
        if capturing(self.device):
            return
        if bool(self._wrong):
            raise ValueError("models and queries must be finite, got a vector with NaN or Inf")


class OutputVectors:
    """Vectors formed from models' outputs."""

    def __init__(self, name: str, models: Sequence[Tensor], metric: str, sigma: float, dtype: torch.dtype) -> None:
        self.models, self.device, self.dtype = len(models), models[0].device, dtype
        self._n = models[0].shape[0]
        entries = slab_entries(self._n, 0, self._n, metric)
        self.pitch = padded_shape(1, entries, dtype)[1] * dtype.itemsize
        self._outputs, self._metric, self._sigma = models, metric, sigma
        self._finite = FiniteRows(name, models)

    def rows(self, first: int, last: int) -> Tensor:
        def report(start: int, wrong: Tensor) -> None:
            self._finite.report(first + start, wrong)

        block = self._outputs[first:last]
        return correlation_rows(block, self._metric, self._sigma, self.dtype, (0, self._n), report)

    def check(self) -> None:
        self._finite.check()


class Resident:
    """All rows of a source, kept on the device."""

    def __init__(self, source: Source) -> None:
        self.models, self.device, self.dtype, self.pitch = source.models, source.device, source.dtype, source.pitch
        self._rows = source.rows(0, source.models)
        self.check = source.check

    def rows(self, first: int, last: int) -> Tensor:
        return self._rows[first:last]


class Quantised:
    """Rows in steps of 1/127.5, a quarter of the memory: what finds candidates."""

    dtype = torch.uint8

    def __init__(self, source: Source) -> None:
        self.models, self.device = source.models, source.device
        self._entries = source.pitch // source.dtype.itemsize
        self.pitch = padded_shape(1, self._entries, torch.uint8)[1]
        self._source = source

    def rows(self, first: int, last: int) -> Tensor:
        out = torch.zeros(last - first, self.pitch, dtype=torch.uint8, device=self.device)
        step = max(1, (1 << 28) // self._entries)
        for start in range(first, last, step):
            stop = min(last, start + step)
            exact = self._source.rows(start, stop).to(torch.float32)
            # NaN: anything will do, the check comes
            steps = (exact * 127.5 + 128.0).nan_to_num_(0.0).clamp_(0.0, 255.0).to(torch.uint8)
            out[start - first : stop - first, : self._entries] = steps
        return out

    def check(self) -> None:
        self._source.check()
