"""Figures of merit of one method from its distances, by attack."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..labelled_zoo.folder import ZooMember
from ..verdict import auc, evaluate_distances, tpr_at_fpr
from .accusation_matrix import accusation_matrix
from .loaded_zoo import is_adaptive

#: False positive rates in every table.
RATES = (0.01, 0.05)
MATRIX_RATES = (0.05, 0.1)
# AUC at chance, for attacks whose models a method cannot compare.
_CHANCE = 0.5


def mean_auc(
    distances: Mapping[str, float], suspects: Sequence[ZooMember], kinds: Sequence[str] | None = None
) -> float:
    """Mean over the non-adaptive attacks of the AUC against all independents (of some kinds).

    Args:
        distances: by member; an attack with a NaN (not comparable) counts ½.
        suspects: stolen and independent members.
        kinds: kinds of independents. Default: all.

    Returns:
        0 … 1; NaN without such attacks or independents, or if an independent has no distance.
    """
    return _mean_non_adaptive(attack_aucs(distances, suspects, kinds))


def attack_aucs(
    distances: Mapping[str, float], suspects: Sequence[ZooMember], kinds: Sequence[str] | None = None
) -> dict[str, float]:
    """AUC of every attack against all independents (of some kinds); ½ for attacks that cannot be compared."""
    return _by_attack(distances, suspects, auc, _CHANCE, kinds)


def mean_tpr(distances: Mapping[str, float], suspects: Sequence[ZooMember], rate: float) -> float:
    """Mean over the non-adaptive attacks of `tpr_at_fpr` against all independents; attacks that cannot be compared
    count 0. NaN as for `mean_auc`.
    """
    return _mean_non_adaptive(
        _by_attack(distances, suspects, lambda near, far: tpr_at_fpr(near, far, rate), 0.0, kinds=None)
    )


def _by_attack(
    distances: Mapping[str, float],
    suspects: Sequence[ZooMember],
    figure: Callable[[list[float], list[float]], float],
    undefined: float,
    kinds: Sequence[str] | None,
) -> dict[str, float]:
    far = [distances[m.name] for m in suspects if m.role == "independent" and (kinds is None or m.origin in kinds)]
    if not far or not np.isfinite(far).all():
        return {}
    return {
        origin: figure(near, far) if np.isfinite(near).all() else undefined
        for origin, near in _by_origin(distances, suspects, "stolen").items()
    }


def _mean_non_adaptive(by_attack: Mapping[str, float]) -> float:
    figures = [value for origin, value in by_attack.items() if not is_adaptive(origin)]
    return float(np.mean(figures)) if figures else math.nan


def nan_to_none(value: float) -> float | None:
    """NaN as None, since JSON has no NaN."""
    return None if math.isnan(value) else value


def summarise(
    distances: Mapping[str, float],
    suspects: Sequence[ZooMember],
    *,
    alpha: float = 0.05,
    resamples: int = 2000,
    seed: int = 0,
    cells: bool = True,
    resampled: Mapping[str, NDArray[np.float64]] | None = None,
) -> dict[str, Any]:
    """All figures of one method.

    Args:
        distances: by member; NaN if the method cannot compare the models (different numbers of outputs).
        suspects: stolen and independent members.
        alpha, resamples, seed: see `evaluate_distances`.
        cells: include attack × kind of independents.
        resampled: by member, (R,) distances under resamples of the probes, for intervals over probes.

    Returns:
        ``non_adaptive`` and ``adaptive``: `Evaluation.to_dict` of those attacks, None without such attacks;
        ``accusation_matrix``: cells of `accusation_matrix`, rate by rate; ``not_comparable``: attacks that the method
        cannot compare; ``mean_auc`` and ``mean_tpr`` (by rate) over the non-adaptive attacks, see the functions of
        these names; None if undefined.
    """
    independents = _by_origin(distances, suspects, "independent")
    stolen = _by_origin(distances, suspects, "stolen")
    if not all(np.isfinite(values).all() for values in independents.values()):
        raise ValueError("distances of independents must be finite, got NaN or Inf")
    lost = [origin for origin, values in stolen.items() if not np.isfinite(values).all()]
    result: dict[str, Any] = {"not_comparable": lost}
    for key, adaptive in (("non_adaptive", False), ("adaptive", True)):
        groups = {o: v for o, v in stolen.items() if o not in lost and is_adaptive(o) == adaptive}
        result[key] = None
        if groups:
            evaluated = evaluate_distances(
                groups,
                independents,
                alpha=alpha,
                false_positive_rates=RATES,
                resamples=resamples,
                seed=seed,
                stolen_replicates=_replicates(resampled, suspects, "stolen", groups),
                independent_replicates=_replicates(resampled, suspects, "independent", independents),
            ).to_dict()
            if not cells:
                del evaluated["cells"], evaluated["p_values"], evaluated["transfer"]
            result[key] = evaluated
    honest = [m for m in suspects if m.role == "independent"]
    result["accusation_matrix"] = [
        {"alpha": rate, "nulls": nulls, "judged": kind, "accused": accused, "models": models}
        for rate in MATRIX_RATES
        for (nulls, kind), (accused, models) in accusation_matrix(distances, honest, rate).items()
    ]
    result["mean_auc"] = nan_to_none(mean_auc(distances, suspects))
    result["mean_auc_by_kind"] = {kind: nan_to_none(mean_auc(distances, suspects, [kind])) for kind in independents}
    result["mean_tpr"] = {f"{rate:g}": nan_to_none(mean_tpr(distances, suspects, rate)) for rate in RATES}
    return result


def _by_origin(distances: Mapping[str, float], suspects: Sequence[ZooMember], role: str) -> dict[str, list[float]]:
    groups: dict[str, list[float]] = {}
    for member in suspects:
        if member.role == role:
            groups.setdefault(member.origin, []).append(float(distances[member.name]))
    return groups


def _replicates(
    resampled: Mapping[str, NDArray[np.float64]] | None, suspects: Sequence[ZooMember], role: str, wanted: Iterable[str]
) -> dict[str, NDArray[np.float64]] | None:
    if resampled is None:
        return None
    names = {origin: [m.name for m in suspects if (m.role, m.origin) == (role, origin)] for origin in wanted}
    return {origin: np.stack([resampled[name] for name in of]) for origin, of in names.items()}
