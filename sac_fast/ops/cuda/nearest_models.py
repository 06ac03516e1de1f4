"""`nearest_models` on a CUDA device: a sweep that keeps the nearest of each query, and an exact ranking of candidates.

What fits into a quarter of the device's memory stays there. More models than that, in the host's memory, in a memory
map or formed from outputs, are swept in segments while the queries' lists stay on the device.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from ... import _backend
from ..arguments import probes_of, result_dtype
from .correlation_vector import padded
from .sources import OutputVectors, Quantised, Resident, Source, StoredVectors
from .sweep import MEMORY_SHARE, kernel_dtype, kernel_rows, memory_of, multiprocessors
from .tiles import on_device

MAX_NEAREST = 256  # kMaxNearest
_TILE = 128  # kSweepTile
_NONE = torch.iinfo(torch.int64).max  # kNoNeighbour
_MAX_MODELS = 2**32 - 1  # a model's number is the lower half of a key
# Thread blocks for each multiprocessor, so that those which finish last are few among many
_BLOCKS_EACH = 16
# Sums of uint8 that stay below 2³¹
_MAX_UINT8_BYTES = (2**31 - 1) // 255
_RANK_BYTES = 1 << 30


def nearest_models(
    models: list[Tensor], queries: list[Tensor], metric: str, sigma: float, top: int, candidates: int
) -> tuple[Tensor, Tensor]:
    """`sac_fast.nearest_models` of outputs on their CUDA device; no queries: the models themselves."""
    dtype, n = result_dtype(*models, *queries), models[0].shape[0]
    pool = OutputVectors("models", models, metric, sigma, dtype)
    asked = OutputVectors("queries", queries, metric, sigma, dtype) if queries else None
    values, indices = _nearest(pool, asked, top, candidates, 2.0 / n**2)
    return values.to(dtype), indices


def nearest_vectors(models: Tensor, queries: Tensor | None, top: int, candidates: int) -> tuple[Tensor, Tensor]:
    """`sac_fast.nearest_models` of stored vectors; results are where the queries are.

    Swept on the queries' device, or the models', or the current one if both are on the host.
    """
    asked = models if queries is None else queries
    device = next((x.device for x in (asked, models) if x.is_cuda), None) or current_device()
    step = 127.5 if models.dtype == torch.uint8 else 1.0
    pool = StoredVectors(models, device)
    wanted = None if queries is None else StoredVectors(queries, device)
    values, indices = _nearest(pool, wanted, top, candidates, 2.0 / probes_of(models.shape[1]) ** 2 / step)
    return values.to(asked.device, torch.float32), indices.to(asked.device)


def current_device() -> torch.device:
    """Torch's current CUDA device."""
    return torch.device("cuda", torch.cuda.current_device())


def _nearest(pool: Source, queries: Source | None, top: int, candidates: int, scale: float) -> tuple[Tensor, Tensor]:
    """The `top` rows of the pool nearest to each query.

    Args:
        pool, queries: where the rows come from; None: the pool's own, each itself left out.
        candidates: 0, or how many a uint8 sweep finds before they are ranked exactly.
        scale: what a sum of |x − y| is multiplied with.

    Returns:
        values (q, top) float64, and indices (q, top) int64, on the sources' device.
    """
    most = memory_of(pool.device) // MEMORY_SHARE
    pool, queries = _kept(pool, most), None if queries is None else _kept(queries, most)
    asked = pool if queries is None else queries
    values = torch.empty(asked.models, top, dtype=torch.float64, device=pool.device)
    indices = torch.empty(asked.models, top, dtype=torch.int64, device=pool.device)
    # differences of float16 are rounded: they find candidates too; uint8 is ranked as it is
    rough = pool.dtype != torch.uint8 and (candidates > 0 or pool.dtype == torch.float16)
    each = min(max(candidates, top + max(10, top)), pool.models - (queries is None)) if rough else top
    searched, searching = pool, queries
    if rough and candidates > 0:
        searched = Resident(Quantised(pool)) if isinstance(pool, Resident) else Quantised(pool)
        searching = None if queries is None else Quantised(queries)
    for first, last in _segments(asked, most // 2):
        found, sums = _search(searched, searching, (first, last), each, most)
        if rough:
            found, sums = _ranked(pool, asked.rows(first, last), found, most)
        values[first:last], indices[first:last] = sums[:, :top] * scale, found[:, :top]
    pool.check()
    if queries is not None:
        queries.check()
    return values, indices


def _kept(source: Source, most: int) -> Source:
    return Resident(source) if source.models * source.pitch <= most else source


def _segments(source: Source, max_bytes: int) -> list[tuple[int, int]]:
    if isinstance(source, Resident):
        return [(0, source.models)]
    return [*_blocks(source.models, source.pitch, max_bytes)]


def _blocks(models: int, pitch: int, max_bytes: int) -> Iterator[tuple[int, int]]:
    """Runs of models whose rows fit into `max_bytes`, in whole tiles."""
    step = max(1, max_bytes // pitch // _TILE) * _TILE
    return ((first, min(models, first + step)) for first in range(0, models, step))


def _search(
    pool: Source, queries: Source | None, block: tuple[int, int], each: int, most: int
) -> tuple[Tensor, Tensor]:
    """Indices and sums of the `each` nearest of the queries of `block`, both (q, each), ascending."""
    too_large = pool.dtype == torch.uint8 and pool.pitch > _MAX_UINT8_BYTES
    if each > MAX_NEAREST or pool.dtype == torch.float64 or too_large or pool.models > _MAX_MODELS:
        return _by_sorting(pool, queries, block, each, most)
    whole = _segments(pool, most // 4)
    enough = _TILE * _BLOCKS_EACH * multiprocessors(pool.device)
    if queries is None and whole == [block] and pool.models > enough:
        keys = _symmetric(pool, each)
    else:
        asking = (pool if queries is None else queries).rows(*block)
        keys = _listed(pool, asking, whole, block[0] if queries is None else None, each)
    bits = keys >> 32
    sums = bits.double() if pool.dtype == torch.uint8 else bits.to(torch.int32).view(torch.float32).double()
    return keys & 0xFFFFFFFF, sums


def _symmetric(pool: Source, each: int) -> Tensor:
    """Keys (m, each) of the pool's own neighbours: each pair of models is summed once."""
    rows = pool.rows(0, pool.models)
    keys = torch.full((pool.models, each), _NONE, dtype=torch.int64, device=pool.device)
    with on_device(pool.device) as stream:
        _backend.compiled("cuda").nearest_models_cuda_symmetric(
            kernel_rows(rows), kernel_dtype(rows), each, keys.data_ptr(), stream
        )
    return keys


def _listed(pool: Source, asking: Tensor, whole: list[tuple[int, int]], first_query: int | None, each: int) -> Tensor:
    """Keys (q, each): the queries' lists go from one segment of the pool to the next.

    Args:
        first_query: the queries are the pool's models from this one on, and leave themselves out.
    """
    tiles = -(-len(asking) // _TILE)
    widest = -(-max(last - first for first, last in whole) // _TILE)
    parts = max(1, min(widest, _BLOCKS_EACH * multiprocessors(pool.device) // tiles))
    lists = torch.full((parts, len(asking), each), _NONE, dtype=torch.int64, device=pool.device)
    for first, last in whole:
        rows = pool.rows(first, last)
        with on_device(pool.device) as stream:
            inputs = (kernel_rows(asking), kernel_rows(rows), kernel_dtype(rows))
            numbers = (each, first_query or 0, first, first_query is not None, parts)
            _backend.compiled("cuda").nearest_models_cuda(*inputs, *numbers, lists.data_ptr(), stream)
    if parts == 1:
        return lists[0]
    # no two keys of models are equal: any sort gives the same order
    return lists.transpose(0, 1).flatten(1).sort(dim=1).values[:, :each]


def _by_sorting(
    pool: Source, queries: Source | None, block: tuple[int, int], each: int, most: int
) -> tuple[Tensor, Tensor]:
    """The same for lists too long, or sums too large, for the kernel that keeps lists: blocks of distances, sorted."""
    asked, (start, stop) = pool if queries is None else queries, block
    found = torch.empty(stop - start, each, dtype=torch.int64, device=pool.device)
    sums = torch.empty(stop - start, each, dtype=torch.float64, device=pool.device)
    for first, last in _blocks(stop - start, 8 * max(each, 1 << 14), most // 16):
        asking = asked.rows(start + first, start + last)
        best, indices = sums.new_empty(last - first, 0), found.new_empty(last - first, 0)
        for low, high in _blocks(pool.models, max(pool.pitch, 8 * len(asking)), most // 16):
            distances = _rectangle(asking, pool.rows(low, high))
            numbers = torch.arange(low, high, device=pool.device)
            if queries is None:
                itself = torch.arange(start + first, start + last, device=pool.device)
                distances.masked_fill_(itself[:, None] == numbers, torch.inf)
            # stable, and earlier models come first: ties by index
            best, order = torch.cat([best, distances], 1).sort(dim=1, stable=True)
            indices = torch.cat([indices, numbers.expand(last - first, -1)], 1).gather(1, order[:, :each])
            best = best[:, :each]
        found[first:last], sums[first:last] = indices, best
    return found, sums


def _rectangle(x: Tensor, y: Tensor) -> Tensor:
    """Σ|x_i − y_j| for all i, j, float64."""
    sums = torch.empty(len(x), len(y), dtype=torch.float64, device=x.device)
    step = (_MAX_UINT8_BYTES if x.dtype == torch.uint8 else 1 << 62) // _TILE * _TILE
    with on_device(x.device) as stream:
        for start in range(0, x.shape[1], step):
            parts = padded(x[:, start : start + step]), padded(y[:, start : start + step])
            inputs = (*map(kernel_rows, parts), False, kernel_dtype(x))
            output = (sums.data_ptr(), start > 0, 0, True)
            _backend.compiled("cuda").pairwise_correlation_distances_cuda(*inputs, *output, 1.0, stream)
    return sums


def _ranked(pool: Source, asking: Tensor, found: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """The candidates (q, each) of each query by their exact sums; ties by index."""
    found = found.sort(dim=1).values
    sums = torch.empty(found.shape, dtype=torch.float64, device=found.device)
    exact = torch.float64 if pool.dtype == torch.float64 else torch.float32
    whole = _segments(pool, most // 4)
    for first, last in whole:
        rows = pool.rows(first, last)
        if len(whole) == 1:
            pairs = torch.arange(found.numel(), device=found.device)
        else:
            pairs = ((found >= first) & (found < last)).flatten().nonzero()[:, 0]
        step = max(1, _RANK_BYTES // (16 * rows.shape[1]))
        for some in (pairs[at : at + step] for at in range(0, len(pairs), step)):
            x = asking.index_select(0, some // found.shape[1]).to(exact)
            y = rows.index_select(0, found.flatten().index_select(0, some) - first).to(exact)
            sums.view(-1)[some] = (x - y).abs_().sum(dim=1, dtype=torch.float64)
    sums, order = sums.sort(dim=1, stable=True)
    return found.gather(1, order), sums
