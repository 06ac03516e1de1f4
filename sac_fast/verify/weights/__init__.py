"""Were two files' weights made independently: fixed points of the best matches between hidden units."""

from .result import WeightsLayer, WeightsResult
from .run import weights_test

__all__ = ["WeightsLayer", "WeightsResult", "weights_test"]
