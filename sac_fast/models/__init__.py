"""Models: anything that gives outputs for probes."""

from ..formats.identify import identify
from ..formats.limits import REASONS, Limits
from ..formats.table_format import TableFormat
from .black_box import BlackBox
from .checkpoint import load_model, load_weights, save_weights
from .endpoint import Endpoint
from .endpoint_ledger import QueryLedger
from .endpoint_secrets import Secrets
from .entries import list_entries
from .entry import ModelEntry
from .opened import open_model
from .opened_model import OpenedModel
from .preprocessing import Preprocessing
from .reference_similarity import PairwiseSimilarity, ReferenceSimilarity, similarities
from .runner import run_inputs, run_model
from .state_hash import weights_hash

__all__ = [
    "REASONS",
    "BlackBox",
    "Endpoint",
    "Limits",
    "ModelEntry",
    "OpenedModel",
    "PairwiseSimilarity",
    "Preprocessing",
    "QueryLedger",
    "ReferenceSimilarity",
    "Secrets",
    "TableFormat",
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
