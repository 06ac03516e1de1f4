"""Outputs of models at random, and distances of all pairs by definition."""

import numpy as np
import torch

from . import definition


def outputs(n, k, seed=0, dtype=torch.float32):
    return torch.randn(n, k, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def models_of(m, n, k, seed=0, dtype=torch.float32, spread=0):
    """m models of k … k + spread outputs."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(n, k + i % (spread + 1), generator=generator, dtype=torch.float64).to(dtype) for i in range(m)]


def defined(left, right, metric="cosine", sigma=definition.SIGMA):
    """The l1 distance of each model on the left to each on the right, by `definition`."""
    matrices = [[definition.matrix(x.double().cpu(), metric, sigma) for x in models] for models in (left, right)]
    return np.array([[np.abs(a - b).mean() for b in matrices[1]] for a in matrices[0]])
