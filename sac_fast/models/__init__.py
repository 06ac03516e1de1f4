"""Models: anything that gives outputs for probes."""

from ..formats.identify import identify
from ..formats.limits import REASONS, Limits
from .checkpoint import load_model, load_weights, save_weights
from .entries import list_entries
from .entry import ModelEntry
from .opened import open_model
from .opened_model import OpenedModel
from .preprocessing import Preprocessing
from .reference_similarity import PairwiseSimilarity, ReferenceSimilarity, similarities
from .runner import run_inputs, run_model
from .weights_hash import weights_hash

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
