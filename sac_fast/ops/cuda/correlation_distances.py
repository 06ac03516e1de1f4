"""`correlation_distances` on a CUDA device: slabs of rows, batches of suspects."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from ..arguments import result_dtype
from . import tiles
from .correlation_distance import distance_wide
from .tiles import Packer


def correlation_distances(
    source: Tensor,
    suspects: list[Tensor],
    metric: str,
    sigma: float,
    precision: str = "highest",
    names: list[str] | None = None,
) -> Tensor:
    """`sac_fast.correlation_distances` on the models' CUDA device; `names` of the source and the suspects."""
    names = names or ["source", *(f"suspects[{i}]" for i in range(len(suspects)))]
    dtype = result_dtype(source, *suspects)
    if tiles.serves(dtype, metric, sigma, max(x.shape[1] for x in (source, *suspects)), precision):
        return tile_distances(source, suspects, metric, sigma, precision, names).to(dtype)
    named = zip(suspects, names[1:], strict=True)
    return torch.stack([distance_wide(source, x, metric, sigma, (names[0], name)) for x, name in named]).to(dtype)


def tile_distances(
    source: Tensor, suspects: list[Tensor], metric: str, sigma: float, precision: str, names: list[str]
) -> Tensor:
    """(1/n²) Σ|C^source − C^s| for each suspect: (m,) float64 on the device. `names` of the source and the suspects."""
    n = source.shape[0]
    with tiles.on_device(source.device) as stream:
        packer = Packer(metric, precision, 1 + len(suspects), source.device, stream)
        slabs = _slabs(packer, n, max(x.shape[1] for x in (source, *suspects)))
        once = packer.pack([source], 0, slabs[0]) if len(slabs) == 1 else None
        bandwidth = tiles.inverse_bandwidth(metric, sigma)
        sums = []
        for first, batch in _batches(packer, suspects, slabs[0].stop):
            total = None
            for i, rows in enumerate(slabs):
                a, b = once or packer.pack([source], 0, rows), packer.pack(batch, 1 + first, rows)
                for cols in slabs[i:]:
                    square = cols is rows
                    a_cols = a if square else packer.pack([source], 0, cols)
                    b_cols = b if square else packer.pack(batch, 1 + first, cols)
                    sides = rows.stop - rows.start, cols.stop - cols.start
                    shape = (*sides, square, packer.parts, bandwidth, tiles.KERNEL)
                    pairs = (tiles.pointers(a, a_cols, source.shape[1]), tiles.pointers(b, b_cols, batch[0].shape[1]))
                    sum_ = _sums(packer, shape, *pairs, len(batch), source.device)
                    total = sum_ if total is None else total + sum_
            assert total is not None
            sums.append(total)
        result = (torch.cat(sums) if len(sums) > 1 else sums[0]) / n**2
        packer.refuse_bad_rows(names)
    return result


def _slabs(packer: Packer, n: int, k: int) -> list[slice]:
    """Rows 0 … n − 1 in slabs of whole tiles, as few as SLAB_BYTES allows."""
    most = max(1, tiles.SLAB_BYTES // packer.bytes(tiles.TILE_ROWS, k)) * tiles.TILE_ROWS
    return [slice(start, min(n, start + most)) for start in range(0, n, most)]


def _batches(packer: Packer, suspects: list[Tensor], rows: int) -> Iterator[tuple[int, list[Tensor]]]:
    """Neighbours of the same padded k, as many as BATCH_BYTES allows, with the number of the first."""
    first = 0
    while first < len(suspects):
        k = suspects[first].shape[1]
        most = max(1, tiles.BATCH_BYTES // packer.bytes(rows, k))
        end = first + 1
        while end < len(suspects) and end - first < most and tiles.steps(suspects[end].shape[1]) == tiles.steps(k):
            end += 1
        yield first, suspects[first:end]
        first = end


def _sums(packer: Packer, shape: Any, source: Any, suspects: Any, count: int, device: torch.device) -> Tensor:
    blocks = packer.module.correlation_distances_tiles_blocks(shape, count)
    partial = torch.empty(count, blocks, dtype=torch.float64, device=device)
    packer.module.correlation_distances_tiles(shape, source, suspects, count, partial.data_ptr(), packer.stream)
    return partial.sum(dim=1)
