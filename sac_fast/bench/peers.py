"""What the ops are timed against: PyTorch as one would write it, and libraries that do the same."""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from ..io.choices import Metric

EXTRA = "pip install 'sac-fast[bench]'"
_TILE = 1024


def available(module: str) -> tuple[ModuleType | None, str | None]:
    """The module, or None and why it is not there."""
    try:
        # pykeops says on stdout that there is no GPU; stdout is for results
        with contextlib.redirect_stdout(sys.stderr):
            return importlib.import_module(module), None
    except ImportError as error:
        return None, f"{module} is not installed ({EXTRA}): {error}"
    except Exception as error:  # pykeops looks for compilers and folders while it is imported
        return None, f"{module} cannot be imported: {type(error).__name__}: {error}"


def correlations(rows: Tensor, metric: Metric) -> Tensor:
    """C of normalised rows as one would write it: cosine, or rbf with 2σ² = 1."""
    products = rows @ rows.T
    return torch.exp(-(2 - 2 * products)) if metric == "rbf" else products


def naive(a: Tensor, b: Tensor, metric: Metric) -> Tensor:
    """As the reference scripts do it: normalise, two products, two n×n matrices, abs, sum."""
    c_a, c_b = correlations(normalize(a), metric), correlations(normalize(b), metric)
    return (c_a - c_b).abs().sum() / len(a) ** 2


def naive_loop(source: Tensor, suspects: Tensor) -> Tensor:
    """One source against many, one pair after another."""
    return torch.stack([naive(source, suspect, "cosine") for suspect in suspects])


def naive_loop_source_kept(source: Tensor, suspects: Tensor) -> Tensor:
    """One source against many; the source's matrix is formed once."""
    c = correlations(normalize(source), "cosine")
    n2 = len(source) ** 2
    return torch.stack([(c - correlations(normalize(x), "cosine")).abs().sum() / n2 for x in suspects])


def tiled(a: Tensor, b: Tensor, metric: Metric) -> Tensor:
    """1024×1024 tiles of the symmetric half; for cosine one product [Â B̂]·[Â −B̂]ᵀ a tile."""
    a, b = normalize(a), normalize(b)
    left, right = torch.cat([a, b], dim=1), torch.cat([a, -b], dim=1).T.contiguous()
    n = len(a)
    total = torch.zeros((), device=a.device)
    for i in range(0, n, _TILE):
        rows = slice(i, i + _TILE)
        for j in range(i, n, _TILE):
            columns = slice(j, j + _TILE)
            if metric == "rbf":
                c_a = (a[rows] @ a[columns].T).mul_(2).sub_(2).exp_()
                difference = c_a.sub_((b[rows] @ b[columns].T).mul_(2).sub_(2).exp_())
            else:
                difference = left[rows] @ right[:, columns]
            total += difference.abs_().sum() * (1 if i == j else 2)
    return total / n**2


def keops(a: Tensor, b: Tensor, metric: Metric) -> Callable[[], Tensor]:
    """A pykeops reduction; the code is generated and compiled at the first call of each k."""
    module = importlib.import_module("pykeops")
    module.set_verbose(False)
    lazy: Any = importlib.import_module("pykeops.torch").LazyTensor

    def run() -> Tensor:
        x, y = normalize(a), normalize(b)
        x_i, x_j, y_i, y_j = lazy(x[:, None]), lazy(x[None]), lazy(y[:, None]), lazy(y[None])
        c_x, c_y = (x_i | x_j), (y_i | y_j)
        if metric == "rbf":
            c_x, c_y = (2 * c_x - 2).exp(), (2 * c_y - 2).exp()
        with contextlib.redirect_stdout(sys.stderr):
            sums: Tensor = (c_x - c_y).abs().sum(dim=1)
        return sums.sum() / len(a) ** 2

    return run


def vectors_loop(vectors: Tensor) -> Tensor:
    """L1 distances of all rows, one row after another."""
    return torch.stack([(vectors - vector).abs().sum(dim=1) for vector in vectors])


def vectors_then_pdist(outputs: np.ndarray) -> np.ndarray:
    """L1 distances of all pairs from the outputs (m, n, k): cosine correlations by NumPy, then SciPy, condensed."""
    rows = outputs / np.linalg.norm(outputs, axis=2, keepdims=True)
    above = np.triu_indices(outputs.shape[1], 1)
    # as SciPy wants them: it takes six times as long with the strides that the indices leave behind
    correlations = np.ascontiguousarray((rows @ rows.swapaxes(1, 2))[:, above[0], above[1]], dtype=np.float64)
    distances: np.ndarray = importlib.import_module("scipy.spatial.distance").pdist(correlations, "cityblock")
    return distances


def faiss_l1(vectors: np.ndarray, top: int, threads: int) -> tuple[np.ndarray, np.ndarray]:
    """Sums and rows of the `top` nearest of each vector by L1, exact."""
    faiss = importlib.import_module("faiss")
    faiss.omp_set_num_threads(threads)
    index = faiss.IndexFlat(vectors.shape[1], faiss.METRIC_L1)
    index.add(vectors)
    found: tuple[np.ndarray, np.ndarray] = index.search(vectors, top)
    return found


def usearch_l2(vectors: np.ndarray, top: int, threads: int) -> np.ndarray:
    """Rows of the `top` nearest of each vector by squared L2, approximate; the index is built first."""
    index = importlib.import_module("usearch.index").Index(ndim=vectors.shape[1], metric="l2sq", dtype="f32")
    index.add(np.arange(len(vectors)), vectors, threads=threads)
    keys: np.ndarray = index.search(vectors, top, threads=threads).keys
    return keys
