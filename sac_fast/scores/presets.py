"""The preset scores of the command line and their probe sets."""

from __future__ import annotations

from ..ops.arguments import check_choice
from .score import Score
from .statistic import CohortStatistic

#: As published: cosine of raw outputs, l1, on JPEG probes; severity 3 of 1 … 5 is quality 15.
SAC_JC = Score("raw", "cosine", "l1", "jpeg-q15")
#: The best fixed score: the share of the suspect's log-probabilities (T = 4) that those of the source do not explain,
#: on probes that the source misclassifies.
ROBUST = Score("log-softmax(4)", None, "regression", "misclassified")
#: Statistics of the calibrated score.
CALIBRATED = (
    CohortStatistic(0.1, "labels", "pearson", "misclassified", by_class=True),
    CohortStatistic(0.1, "softmax(1)", "pearson", "misclassified"),
)
#: Regularisation of the calibrated score, see `fit_weights`.
REGULARISATION = 0.1

FIXED: dict[str, Score] = {"sac-jc": SAC_JC, "robust": ROBUST}
PRESETS = (*FIXED, "calibrated")
DESCRIPTIONS = {
    "sac-jc": "as published (Guan et al.): cosine of raw outputs, l1, JPEG probes of quality 15",
    "robust": "the best fixed score: regression of log-probabilities (T = 4) on the source's, its misclassified probes",
    "calibrated": "trained on simulated thefts and independents of one's own: similarity given a cohort",
}


def preset_probes(preset: str) -> tuple[str, ...]:
    """Names of the probe sets of a preset.

    Raises:
        ValueError: an unknown preset.

    Example::

        >>> preset_probes("sac-jc")
        ('jpeg-q15',)
    """
    check_choice("preset", preset, PRESETS)
    if preset in FIXED:
        return (FIXED[preset].probes,)
    return tuple(dict.fromkeys(statistic.probes for statistic in CALIBRATED))
