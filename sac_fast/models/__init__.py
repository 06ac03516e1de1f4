"""Models: anything that answers probes."""

from .checkpoint import load_model, load_weights, save_weights, weights_hash
from .preprocessing import Preprocessing
from .reference_similarity import PairwiseSimilarity, ReferenceSimilarity, similarities
from .runner import run_model

__all__ = [
    "PairwiseSimilarity",
    "Preprocessing",
    "ReferenceSimilarity",
    "load_model",
    "load_weights",
    "run_model",
    "save_weights",
    "similarities",
    "weights_hash",
]
