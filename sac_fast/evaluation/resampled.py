"""Distances of a fixed score under resampled probes, for intervals over probes."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from ..scores import Score, evenly_spaced, resampled_shares, transform_rows
from ..scores.regression import supports_intervals
from ..scores.score import REGRESSION
from ..verdict.probes import probe_bootstrap, probe_counts
from .loaded_zoo import LoadedZoo


def resampled_distances(
    loaded: LoadedZoo, score: Score, *, resamples: int, seed: int = 0
) -> dict[str, NDArray[np.float64]] | None:
    """Distances of all suspects under resamples of the probes, the same resamples for all models.

    A row transform that depends on all probes (standardised columns) is held fixed.

    Args:
        loaded: the zoo.
        score: an l1 score or a regression.
        resamples: R.
        seed: seed of the resamples.

    Returns:
        By member (R,); None for other scores, and for a regression with too few probes (`supports_intervals`).
    """
    if score.comparison not in ("l1", REGRESSION):
        return None
    outputs = loaded.outputs[score.probes]
    rows = evenly_spaced(loaded.count(score.probes), score.count)
    names = [m.name for m in loaded.suspects]
    transformed = {name: transform_rows(outputs[name][rows], score.measure) for name in (loaded.source, *names)}
    mine = transformed.pop(loaded.source)
    if score.metric is not None:
        drawn = probe_bootstrap(mine, transformed, metric=score.metric, resamples=resamples, seed=seed)
        return dict(zip(names, drawn.replicates, strict=True))
    if not supports_intervals(mine):
        return None
    counts = torch.from_numpy(probe_counts(len(rows), resamples, seed))
    shares = resampled_shares(mine, list(transformed.values()), counts).numpy()
    return dict(zip(names, shares, strict=True))
