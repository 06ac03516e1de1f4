"""p-values of suspects from their similarities to source and siblings: rank, max-T over suspects, Student's t.

Column 0 is the source's, the others are the siblings'. What is done before a column is compared with another treats all
columns alike.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..scores.siblings_similarity import Similarities

Floats = NDArray[np.float64]
#: Fewest siblings: Student's t with 3 degrees of freedom.
MIN_SIBLINGS = 4
#: From here on similarities are standardised by what siblings show among themselves; with fewer it costs power.
MIN_STANDARDISED = 9
#: Student's t was only shown to hold down to here; smaller values are raised to it.
MIN_STUDENT_P = 1e-3
# Differences below it are rounding: they count as ties, against the accusation.
_TIE = 1e-9


def standardise(similarities: Similarities) -> Floats:
    """One channel's similarities as values that are comparable between members.

    ``v_bj = (similarity(b, j) − m_j) / d_j`` with mean and deviation of the other members' similarities to member j,
    from 9 siblings on; with fewer, and in channels without similarities among members, the similarities as they are.

    Args:
        similarities: (S, J) and (J, J).

    Returns:
        (S, J) float64; NaN in rows without any variation.
    """
    values = similarities.suspects.astype(np.float64, copy=True)
    scale = np.abs(values).max(axis=1, keepdims=True)
    values[(np.ptp(values, axis=1, keepdims=True) <= _TIE * scale)[:, 0]] = np.nan
    if values.shape[1] <= MIN_STANDARDISED or similarities.among is None:
        return values
    deviation = np.nanstd(similarities.among, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        found = (values - np.nanmean(similarities.among, axis=1)) / deviation
    found[~np.isfinite(found).all(axis=1)] = np.nan
    return np.asarray(found)


def scaled_profiles(values: Floats) -> Floats:
    """Each row minus its median, divided by its interquartile range: ``u_bj``.

    Returns:
        (S, J) float64; NaN in rows without spread.
    """
    quartiles = np.percentile(values, [25, 50, 75], axis=1)
    spread = (quartiles[2] - quartiles[0])[:, None]
    scale = np.abs(values).max(axis=1, keepdims=True)
    with np.errstate(invalid="ignore"):
        varies = spread > _TIE * scale
        return np.asarray(np.where(varies, (values - quartiles[1][:, None]) / np.where(varies, spread, 1.0), np.nan))


def combined_profiles(channels: Sequence[Floats]) -> Floats:
    """The test statistic ``T(b, j)``: the largest ``u_bj`` of all channels; NaN in a row where no channel varies.

    A channel without variation says nothing and is left out.
    """
    profiles = np.stack([scaled_profiles(values) for values in channels])
    silent = np.isnan(profiles)
    best = np.where(silent, -np.inf, profiles).max(axis=0)
    return np.asarray(np.where(silent.all(axis=0), np.nan, best))


def rank_p_values(statistics: Floats) -> Floats:
    """Exact p-values ``(1 + #{j ≥ 1: T(b, j) ≥ T(b, 0)}) / (K + 1)``; ties count, NaN gives 1.

    Args:
        statistics: (S, J) T.

    Returns:
        (S,) float64.

    Example::

        >>> rank_p_values(np.array([[3.0, 1.0, 2.0, 0.0, 0.5], [1.0, 1.0, 2.0, 0.0, 0.5]])).tolist()
        [0.2, 0.6]
    """
    return _ranks(statistics, statistics[:, 1:])


def max_p_values(statistics: Floats) -> Floats:
    """Adjusted p-values ``(1 + #{j ≥ 1: max_c T(c, j) ≥ T(b, 0)}) / (K + 1)`` over all suspects c (max-T).

    Args:
        statistics: (S, J) T; rows with NaN get 1 and count for nobody.

    Returns:
        (S,) float64, never below `rank_p_values`.

    Example::

        >>> max_p_values(np.array([[3.0, 1.0, 2.0, 0.0, 0.5], [1.0, 4.0, 2.0, 0.0, 0.5]])).tolist()
        [0.4, 0.6]
    """
    return _ranks(statistics, _largest(statistics)[None, 1:])


def student_p_values(channels: Sequence[Floats], *, over_suspects: bool) -> Floats:
    """Approximate p-values by Student's t for one new value against K, times the number of channels.

    ``t = (v_b0 − v̄_b) / (s_b √(1 + 1/K))`` with mean and deviation over the siblings, K − 1 degrees of freedom.

    Args:
        channels: (S, J) standardised similarities each.
        over_suspects: compare with the largest value of all suspects at each sibling, as max-T does. For it the rows
            are first centred on their mean and, from 9 siblings on, divided by their deviation.

    Returns:
        (S,) float64 in 0.001 … 1; NaN gives 1.

    Source: Student's prediction interval for one new observation.
    """
    from scipy.stats import t as student  # imported late: slow to import

    found = np.full(len(channels[0]), np.inf)
    used = np.zeros(len(channels[0]))
    for values in channels:
        count = values.shape[1] - 1
        rows = values
        others = values[:, 1:]
        if over_suspects:
            rows = values - values.mean(axis=1, keepdims=True)
            if count >= MIN_STANDARDISED:
                # not the interquartile range, which of few values is so uncertain that maxima have heavy tails
                rows = rows / values.std(axis=1, keepdims=True)
            others = np.broadcast_to(_largest(rows)[None, 1:], (len(rows), count))
        deviation = others.std(axis=1, ddof=1) * np.sqrt(1 + 1 / count)
        with np.errstate(invalid="ignore", divide="ignore"):
            t = (rows[:, 0] - others.mean(axis=1)) / deviation
        known = np.isfinite(t)
        found = np.where(known, np.minimum(found, student.sf(np.where(known, t, 0.0), count - 1)), found)
        used += known
    return np.asarray(np.where(used > 0, np.clip(found * np.maximum(used, 1), MIN_STUDENT_P, 1.0), 1.0))


def _largest(rows: Floats) -> Floats:
    """The largest value of each column over the rows without NaN; NaN if there are none."""
    valid = rows[~np.isnan(rows).any(axis=1)]
    return np.asarray(valid.max(axis=0)) if len(valid) else np.full(rows.shape[1], np.nan)


def _ranks(statistics: Floats, against: Floats) -> Floats:
    source = statistics[:, :1]
    with np.errstate(invalid="ignore"):
        reached = (against >= source - _TIE * (1 + np.abs(source))).sum(axis=1)
    p = (1 + reached) / statistics.shape[1]
    return np.asarray(np.where(np.isnan(statistics).any(axis=1), 1.0, p))
