"""Were two files' weights made independently: fixed points of the best matches between hidden units."""

from .merges import MergeResult, explain_merge
from .result import WeightsLayer, WeightsResult
from .run import weights_test

__all__ = ["MergeResult", "WeightsLayer", "WeightsResult", "explain_merge", "weights_test"]
