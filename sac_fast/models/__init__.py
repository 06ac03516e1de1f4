"""Models: anything that gives outputs for probes."""

from typing import TYPE_CHECKING

from ..io.lazy import lazy_names

if TYPE_CHECKING:
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

__getattr__ = lazy_names(
    __name__,
    {
        "..formats.identify": "identify",
        "..formats.limits": "REASONS Limits",
        "..formats.table_format": "TableFormat",
        ".black_box": "BlackBox",
        ".checkpoint": "load_model load_weights save_weights",
        ".endpoint": "Endpoint",
        ".endpoint_ledger": "QueryLedger",
        ".endpoint_secrets": "Secrets",
        ".entries": "list_entries",
        ".entry": "ModelEntry",
        ".opened": "open_model",
        ".opened_model": "OpenedModel",
        ".preprocessing": "Preprocessing",
        ".reference_similarity": "PairwiseSimilarity ReferenceSimilarity similarities",
        ".runner": "run_inputs run_model",
        ".state_hash": "weights_hash",
    },
)
