"""Scores: what is made of two models' answers to the same probes, each under a name that says how.

Fixed scores need the source and the suspect only; the calibrated one is fitted to a source, with independents and
simulated thefts of the owner's own.
"""

from .answers import ANSWER_SCORES, answer_distance
from .calibration import Calibration
from .cohort import inner_products, similarity_given_cohort
from .presets import CALIBRATED, DESCRIPTIONS, FIXED, PRESETS, REGULARISATION, preset_probes
from .regression import unexplained_share, unexplained_shares_weighted
from .score import Score, spread
from .statistic import CohortFeatures, CohortStatistic
from .transforms import parse_transform, transform_rows
from .weights import Weights, fit_weights

__all__ = [
    "ANSWER_SCORES",
    "CALIBRATED",
    "DESCRIPTIONS",
    "FIXED",
    "PRESETS",
    "REGULARISATION",
    "Calibration",
    "CohortFeatures",
    "CohortStatistic",
    "Score",
    "Weights",
    "answer_distance",
    "fit_weights",
    "inner_products",
    "parse_transform",
    "preset_probes",
    "similarity_given_cohort",
    "spread",
    "transform_rows",
    "unexplained_share",
    "unexplained_shares_weighted",
]
