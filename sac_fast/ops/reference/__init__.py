"""The definitions in plain PyTorch: float64, no compiled module.

What stands here is what every backend is measured against, and what runs where the compiled module is missing.
The functions have the signatures of `sac_fast.ops`, without `backend`.
"""

from .correlation_distance import correlation_distance, correlation_distance_backward
from .correlation_distance_weighted import correlation_distance_weighted, correlation_distance_weighted_backward
from .correlation_distances import correlation_distances
from .correlation_matrix import correlation_matrix
from .correlation_vector import correlation_vector
from .gradients import through_normalisation
from .jpeg_roundtrip import jpeg_roundtrip
from .nearest_models import nearest_models, nearest_vectors
from .pairwise_correlation_distances import pairwise_correlation_distances
from .rows import average_ranks, directions_and_norms, normalised_rows

__all__ = [
    "average_ranks",
    "correlation_distance",
    "correlation_distance_backward",
    "correlation_distance_weighted",
    "correlation_distance_weighted_backward",
    "correlation_distances",
    "correlation_matrix",
    "correlation_vector",
    "directions_and_norms",
    "jpeg_roundtrip",
    "nearest_models",
    "nearest_vectors",
    "normalised_rows",
    "pairwise_correlation_distances",
    "through_normalisation",
]
