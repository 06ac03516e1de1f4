"""`correlation_distance` on a CUDA device: the float64 kernel where tensor cores do not suffice."""

from __future__ import annotations

import torch
from torch import Tensor

from ... import _backend
from ..arguments import finite_rows
from ..reference import normalised_rows
from . import tiles


def distance_wide(a: Tensor, b: Tensor, metric: str, sigma: float, names: tuple[str, str]) -> Tensor:
    """The "l1" distance by the float64 CUDA kernel: 0-d float64. `names` of a and b in messages."""
    module = _backend.compiled("cuda")
    rows_a, rows_b = (rows.contiguous() for rows in normalised_pair(a, b, metric, names))
    n = a.shape[0]
    with tiles.on_device(a.device) as stream:
        partial = torch.empty(module.correlation_distance_cuda_blocks(n), dtype=torch.float64, device=a.device)
        sides = (rows_a.data_ptr(), rows_a.shape[1], rows_b.data_ptr(), rows_b.shape[1])
        bandwidth = tiles.inverse_bandwidth(metric, sigma)
        module.correlation_distance_cuda(*sides, n, bandwidth, partial.data_ptr(), stream)
        return partial.sum() / n**2


def normalised_pair(a: Tensor, b: Tensor, metric: str, names: tuple[str, str] = ("a", "b")) -> tuple[Tensor, Tensor]:
    """`reference.normalised_rows` of both, which must be finite (unchecked while a CUDA graph is captured)."""
    if not tiles.capturing(a.device):
        finite_rows(names[0], a)
        finite_rows(names[1], b)
    return normalised_rows(a, metric), normalised_rows(b, metric)
