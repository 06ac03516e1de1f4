"""`pairwise_correlation_distances` on a CUDA device.

The models' correlation vectors are formed on the device, in slabs where all of them would be too much, and the kernel
sums their differences; the n×n matrices never exist.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from ... import _backend
from ..arguments import result_dtype
from . import sweep
from .correlation_vector import FiniteRows, correlation_rows, padded_shape, slab_entries
from .sweep import kernel_dtype, kernel_rows
from .tiles import StackedModels, on_device

# For each entry of a block of C while its vector is formed: float64 correlations, and where they go
_FORMING_BYTES = 48


def pairwise_correlation_distances(models: Sequence[Tensor], metric: str, sigma: float, precision: str) -> Tensor:
    """`sac_fast.pairwise_correlation_distances` on the models' CUDA device."""
    module = _backend.compiled("cuda")
    dtype = result_dtype(*([models[0]] if isinstance(models, StackedModels) else models))
    device = models[0].device
    m, n = len(models), models[0].shape[0]
    form = torch.float64 if dtype == torch.float64 else torch.float16 if precision == "medium" else torch.float32
    finite = FiniteRows("models", models)
    distances = torch.empty(m, m, dtype=dtype, device=device)
    slabs = list(_slabs(n, m, metric, form, sweep.memory_of(device) // sweep.MEMORY_SHARE))
    sums = torch.empty(m, m, dtype=torch.float64, device=device) if len(slabs) > 1 else None
    with on_device(device) as stream:
        for number, slab in enumerate(slabs):
            rows = kernel_rows(vectors := correlation_rows(models, metric, sigma, form, slab, finite.report))
            inputs = (rows, rows, True, kernel_dtype(vectors))
            added = (0 if sums is None else sums.data_ptr(), number > 0)
            result = (distances.data_ptr() if number == len(slabs) - 1 else 0, dtype == torch.float64)
            module.pairwise_correlation_distances_cuda(*inputs, *added, *result, 2.0 / n**2, stream)
    finite.check()
    return distances


def _slabs(n: int, m: int, metric: str, dtype: torch.dtype, max_bytes: int) -> Iterator[tuple[int, int]]:
    """Blocks of rows of C: the entries of all models fit into `max_bytes`, as does what one model's are formed from.

    One row at least.
    """

    def fits(first: int, last: int) -> bool:
        _, entries = padded_shape(m, slab_entries(n, first, last, metric), dtype)
        return m * entries * dtype.itemsize <= max_bytes and _FORMING_BYTES * (last - first) * n <= max_bytes

    first = 0
    while first < n:
        low, high = first + 1, n
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if fits(first, middle) else (low, middle - 1)
        yield first, low
        first = low
