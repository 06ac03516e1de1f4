"""The definitions in plain PyTorch: float64, no compiled module.

What stands here is what every backend is measured against, and what runs where the compiled module is missing.
The functions have the signatures of `sac_fast.ops`, without `backend`.
"""

from .batch import (
    correlation_distances,
    correlation_vector,
    nearest_models,
    nearest_vectors,
    pairwise_correlation_distances,
)
from .correlation_distance_weighted import correlation_distance_weighted
from .pair import average_ranks, correlation_distance, correlation_matrix, normalised_rows

__all__ = [
    "average_ranks",
    "correlation_distance",
    "correlation_distance_weighted",
    "correlation_distances",
    "correlation_matrix",
    "correlation_vector",
    "nearest_models",
    "nearest_vectors",
    "normalised_rows",
    "pairwise_correlation_distances",
]
