"""The ops: check the arguments, choose the backend, call it."""

from .nearest import NearestModels, nearest_models
from .pair import correlation_distance, correlation_matrix
from .vectors import VECTOR_DTYPES, correlation_vector
from .weighted import correlation_distance_weighted
from .zoo import correlation_distances, pairwise_correlation_distances

__all__ = [
    "VECTOR_DTYPES",
    "NearestModels",
    "correlation_distance",
    "correlation_distance_weighted",
    "correlation_distances",
    "correlation_matrix",
    "correlation_vector",
    "nearest_models",
    "pairwise_correlation_distances",
]
