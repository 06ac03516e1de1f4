"""The ops: check the arguments, choose the backend, call it."""

from .batch import correlation_distances, pairwise_correlation_distances
from .correlation_distance_weighted import correlation_distance_weighted
from .correlation_vector import VECTOR_DTYPES, correlation_vector
from .nearest_models import NearestModels, nearest_models
from .pair import correlation_distance, correlation_matrix

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
