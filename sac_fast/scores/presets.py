"""The named scores of the command line: what each computes, on which probes, and what it needs."""

from __future__ import annotations

from .score import Score
from .statistic import CohortStatistic

#: As published: cosine of raw outputs, l1, on JPEG probes; severity 3 of 1 … 5 is quality 15.
SAC_JC = Score("raw", "cosine", "l1", "jpeg-q15")
#: The best fixed score: what of the suspect's softened log-probabilities the source's do not explain, on probes that
#: the source classifies wrongly.
ROBUST = Score("log-softmax(4)", None, "regression", "misclassified")
#: Statistics of the trained score.
CALIBRATED = (
    CohortStatistic(0.1, "labels", "pearson", "misclassified", by_class=True),
    CohortStatistic(0.1, "softmax(1)", "pearson", "misclassified"),
)
#: Of the trained score's weights, see `fit_weights`.
REGULARISATION = 0.1

FIXED: dict[str, Score] = {"sac-jc": SAC_JC, "robust": ROBUST}
PRESETS = (*FIXED, "calibrated")
DESCRIPTIONS = {
    "sac-jc": "as published (Guan et al.): cosine of raw outputs, l1, JPEG probes of quality 15",
    "robust": "the best fixed score: regression of log-probabilities (T = 4) on the source's, its misclassified probes",
    "calibrated": "trained on simulated thefts and independents of one's own: similarity given a cohort",
}


def preset_probes(preset: str) -> tuple[str, ...]:
    """The probe sets that a preset looks at.

    Raises:
        ValueError: an unknown preset.
    """
    if preset in FIXED:
        return (FIXED[preset].probes,)
    if preset != "calibrated":
        raise ValueError(f"preset must be one of {', '.join(PRESETS)}, got {preset!r}")
    return tuple(dict.fromkeys(statistic.probes for statistic in CALIBRATED))
