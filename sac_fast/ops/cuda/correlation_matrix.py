"""`correlation_matrix`, and the vector of its upper triangle, on the tensor cores of a CUDA device."""

from __future__ import annotations

import torch
from torch import Tensor

from .. import reference
from . import tiles


def correlation_matrix(outputs: Tensor, metric: str, sigma: float) -> Tensor:
    """`sac_fast.correlation_matrix` on the outputs' CUDA device."""
    if tiles.serves(outputs.dtype, metric, sigma, outputs.shape[1]):
        return matrices([outputs], metric, sigma, False, ["outputs"])[0]
    return reference.correlation_matrix(outputs, metric=metric, sigma=sigma)


def matrices(models: list[Tensor], metric: str, sigma: float, vector: bool, names: list[str]) -> Tensor:
    """C of models of one n and padded k: (m, n, n) float32, or (`vector`) the entries above the diagonal,
    (m, n(n−1)/2)."""
    n, m = models[0].shape[0], len(models)
    with tiles.on_device(models[0].device) as stream:
        packer = tiles.Packer(metric, "highest", m, models[0].device, stream)
        packed = packer.pack(models, 0, slice(0, n))
        out = torch.empty((m, n * (n - 1) // 2) if vector else (m, n, n), device=models[0].device, dtype=torch.float32)
        packer.form(packed, n, models[0].shape[1], sigma, out)
        packer.refuse_bad_rows(names)
    return out
