"""The ops: check the arguments, choose the backend, call it. `table` says what each backend serves."""

from .arguments import VECTOR_DTYPES
from .capabilities import capabilities
from .correlation_distance import correlation_distance
from .correlation_distance_weighted import correlation_distance_weighted
from .correlation_distances import correlation_distances
from .correlation_matrix import correlation_matrix
from .correlation_vector import correlation_vector
from .jpeg_roundtrip import jpeg_roundtrip
from .nearest_models import NearestModels, nearest_models
from .pairwise_correlation_distances import pairwise_correlation_distances

__all__ = [
    "VECTOR_DTYPES",
    "NearestModels",
    "capabilities",
    "correlation_distance",
    "correlation_distance_weighted",
    "correlation_distances",
    "correlation_matrix",
    "correlation_vector",
    "jpeg_roundtrip",
    "nearest_models",
    "pairwise_correlation_distances",
]
