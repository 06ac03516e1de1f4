"""Evaluate the distances of known stolen and known independent models: per attack, per kind of null, and overall."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from . import checks
from .checks import Values
from .comparison import Comparer, Comparison, Estimate
from .false_accusation import SplitCheck, TransferCheck, random_split_check, transfer_check
from .multiple import benjamini_hochberg, holm
from .pool import conformal_p_value


@dataclass(frozen=True)
class Evaluation:
    """Result of `evaluate_distances`.

    Attributes:
        alpha: the stated error rate α.
        confidence: confidence level of all intervals.
        overall: all derived models against all independents, pooled: attacks are weighted by their number of models.
        mean_over_attacks: ``auc`` and ``tpr_at_fpr:RATE``, unweighted means over the attacks.
        attacks: each attack against all independents.
        null_kinds: all derived models against each kind of independents.
        cells: each attack against each kind: ``cells[attack][kind]``.
        p_values: of every derived model against all independents, in the order given: ``conformal``, and corrected
            for their number by ``holm`` and ``benjamini_hochberg``.
        found_at_rate: share of the derived models with a p-value ≤ α, by correction (``none``, …).
        random_splits: error rates on held-out independents, for several α.
        transfer: ``transfer[calibrating kind][judged kind]`` at α.

    Example::

        >>> found = evaluate_distances({"finetune": [0.1, 0.2]}, {"other-data": [0.15, 0.4]}, resamples=100)
        >>> found.p_values["conformal"]["finetune"]
        [0.3333333333333333, 0.6666666666666666]
    """

    alpha: float
    confidence: float
    overall: Comparison
    mean_over_attacks: dict[str, Estimate]
    attacks: dict[str, Comparison]
    null_kinds: dict[str, Comparison]
    cells: dict[str, dict[str, Comparison]]
    p_values: dict[str, dict[str, list[float]]]
    found_at_rate: dict[str, float]
    random_splits: list[SplitCheck]
    transfer: dict[str, dict[str, TransferCheck]]

    def to_dict(self) -> dict[str, Any]:
        """The fields by name, all of them JSON values."""
        return dataclasses.asdict(self)


def evaluate_distances(
    stolen: Mapping[str, ArrayLike],
    independents: Mapping[str, ArrayLike],
    *,
    alpha: float = 0.05,
    false_positive_rates: Sequence[float] = (0.01, 0.05),
    checked_rates: Sequence[float] = (0.01, 0.05, 0.1),
    stolen_replicates: Mapping[str, ArrayLike] | None = None,
    independent_replicates: Mapping[str, ArrayLike] | None = None,
    confidence: float = 0.95,
    resamples: int = 2000,
    splits: int = 1000,
    seed: int = 0,
) -> Evaluation:
    """Compute all statistics of one score on one labelled zoo.

    Args:
        stolen: by attack, (a,) distances of the derived models to the source, or any finite score that is smaller
            for more similar models.
        independents: by kind, (b,) distances of the independents.
        alpha: α of threshold, F1, detections and transfer checks.
        false_positive_rates: rates at which the true positive rate is computed.
        checked_rates: values of α that are checked by random splits.
        stolen_replicates, independent_replicates: with the same keys, (a, R) and (b, R) distances under R resamples of
            the probes, column r under the same resample for all models (`probe_bootstrap`); both or neither.
        confidence: confidence level of the intervals.
        resamples: number of resamples of the models.
        splits: number of random splits.
        seed: seed of all draws.

    Returns:
        The figures. Undefined figures are None with a note: F1 and detections with too few independents for α, Welch's
        test on one model, intervals over groups of one.

    Raises:
        TypeError, ValueError: no groups, an empty one, not numbers, NaN or infinite, replicates of the wrong shape, or
            an option out of range.

    Example::

        >>> found = evaluate_distances({"finetune": [0.1, 0.2]}, {"other-data": [0.3, 0.4]}, alpha=0.4, resamples=100)
        >>> found.overall.auc.value, found.overall.f1.value, found.found_at_rate["holm"]
        (1.0, 1.0, 0.0)
    """
    near, far = checks.check_groups("stolen", stolen), checks.check_groups("independents", independents)
    rate = checks.check_rate("alpha", alpha)
    rates = [checks.check_rate("false_positive_rates", value) for value in false_positive_rates]
    confidence = checks.check_rate("confidence", confidence)
    replicates = _check_replicates(near, far, stolen_replicates, independent_replicates)
    comparer = Comparer(near, far, replicates, rate, rates, confidence, resamples, seed)

    attacks, kinds = tuple(near), tuple(far)
    null = np.concatenate(list(far.values()))
    p_values = conformal_p_value(np.concatenate(list(near.values())), null)
    corrected = {"none": p_values, "holm": holm(p_values), "benjamini_hochberg": benjamini_hochberg(p_values)}
    ends = np.cumsum([len(values) for values in near.values()])[:-1]
    return Evaluation(
        alpha=rate,
        confidence=confidence,
        overall=comparer.compare(attacks, kinds),
        mean_over_attacks=comparer.means(),
        attacks={attack: comparer.compare((attack,), kinds) for attack in attacks},
        null_kinds={kind: comparer.compare(attacks, (kind,)) for kind in kinds},
        cells={attack: {kind: comparer.compare((attack,), (kind,)) for kind in kinds} for attack in attacks},
        p_values={
            ("conformal" if name == "none" else name): {
                attack: part.tolist() for attack, part in zip(attacks, np.split(p, ends), strict=True)
            }
            for name, p in corrected.items()
        },
        found_at_rate={name: float((p <= rate).mean()) for name, p in corrected.items()},
        random_splits=[
            random_split_check(null, each, splits=splits, seed=seed) for each in checked_rates if null.size > 1
        ],
        transfer={
            one: {other: transfer_check(far[one], far[other], rate) for other in kinds if other != one} for one in kinds
        },
    )


def _check_replicates(
    near: Mapping[str, Values],
    far: Mapping[str, Values],
    near_given: Mapping[str, ArrayLike] | None,
    far_given: Mapping[str, ArrayLike] | None,
) -> tuple[dict[str, Values], dict[str, Values]] | None:
    if near_given is None and far_given is None:
        return None
    if near_given is None or far_given is None:
        missing = "stolen_replicates" if near_given is None else "independent_replicates"
        raise ValueError(f"{missing} must be given where the other replicates are, got None")
    both = []
    width: int | None = None
    for name, values, given in (("stolen_replicates", near, near_given), ("independent_replicates", far, far_given)):
        arrays = checks.check_groups(name, given, ndim=2)
        if set(arrays) != set(values):
            raise ValueError(f"{name} must have the names {sorted(values)}, got {sorted(arrays)}")
        for key, array in arrays.items():
            width = array.shape[1] if width is None else width
            if array.shape != (values[key].size, width) or width < 1:
                raise ValueError(f"{name}[{key!r}] must have shape ({values[key].size}, {width}), got {array.shape}")
        both.append(arrays)
    return both[0], both[1]
