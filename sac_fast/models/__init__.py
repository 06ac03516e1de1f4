"""Models: anything that answers probes."""

from .checkpoint import load_model, load_weights, save_weights, weights_hash
from .entries import ModelEntry, list_entries
from .identify import identify
from .limits import REASONS, Limits
from .opened import OpenedModel, open_model
from .preprocessing import Preprocessing
from .reference_similarity import PairwiseSimilarity, ReferenceSimilarity, similarities
from .runner import run_inputs, run_model

__all__ = [
    "REASONS",
    "Limits",
    "ModelEntry",
    "OpenedModel",
    "PairwiseSimilarity",
    "Preprocessing",
    "ReferenceSimilarity",
    "identify",
    "list_entries",
    "load_model",
    "load_weights",
    "open_model",
    "run_inputs",
    "run_model",
    "save_weights",
    "similarities",
    "weights_hash",
]
