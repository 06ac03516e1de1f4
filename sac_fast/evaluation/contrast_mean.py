"""The contrast with siblings as a mean of channels, one of them by regression.

`sac_fast.verify.contrast` takes the largest of its channels, and loses models of other classes where probes are few.
Here the channels are averaged, and a regression is one of them, counted twice. Among nine ways to combine them this had
the highest AUC at 200 queries on the task `fashion`; `benchmarks/results/contrast_tried.md` has all of them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from ..scores import Score
from ..scores.weights import Floats
from ..verify.contrast import contrast_channels, standardised_channel

_REGRESSION = Score.parse("log-softmax(4)/regression@probes")
_TIMES = 2  # how often the regression counts


def contrast_mean(source: Tensor, siblings: Sequence[Tensor], models: Sequence[Tensor], form: str) -> Floats:
    """Distances by the contrast with siblings: minus the weighted mean of the standardised channels.

    Beside the channels of `contrast_channels` counts, twice, ``−log u(b, source) + (1/K) Σ_j log u(b, s_j)`` with
    u(b, s) the share of b's log-softmax outputs (T = 4) that no linear function of s's explains (leave-one-out).

    Args:
        source: (n, k) logits.
        siblings: K ≥ 1 of (n, k) logits.
        models: suspects and nulls together, (n, k_i) logits.
        form: their output form, for `contrast_channels`.

    Returns:
        (number of models,) float64, smaller for models that are more like the source than like its siblings.

    Raises:
        ValueError: too few probes for the regression.
    """
    shares = np.stack([_REGRESSION.distances(member, list(models)) for member in (source, *siblings)])
    values = -np.log(np.maximum(shares, 1e-12))
    channels = contrast_channels(source, siblings, models, form) + [values[0] - values[1:].mean(axis=0)] * _TIMES
    return np.asarray(0.0 - np.nanmean([standardised_channel(each) for each in channels], axis=0))
