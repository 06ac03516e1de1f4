"""Scores: distances of two models computed from their outputs on the same probes, each with a name that defines it.

Fixed scores need the source and the suspect only. The calibrated score is fitted to a source, with independents and
simulated thefts made by the owner.
"""

from .calibration import Calibration
from .cohort import inner_products, similarity_given_cohort
from .outputs import OUTPUT_SCORES, output_distance
from .presets import CALIBRATED, DESCRIPTIONS, FIXED, PRESETS, REGULARISATION, preset_probes
from .regression import SourceRegression, resampled_shares, unexplained_share
from .score import Score, evenly_spaced
from .statistic import CohortFeatures, CohortStatistic
from .transforms import parse_transform, transform_rows
from .weights import Weights, fit_weights

__all__ = [
    "CALIBRATED",
    "DESCRIPTIONS",
    "FIXED",
    "OUTPUT_SCORES",
    "PRESETS",
    "REGULARISATION",
    "Calibration",
    "CohortFeatures",
    "CohortStatistic",
    "Score",
    "SourceRegression",
    "Weights",
    "evenly_spaced",
    "fit_weights",
    "inner_products",
    "output_distance",
    "parse_transform",
    "preset_probes",
    "resampled_shares",
    "similarity_given_cohort",
    "transform_rows",
    "unexplained_share",
]
