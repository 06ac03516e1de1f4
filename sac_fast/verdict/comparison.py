"""Derived models against independents: every figure with its intervals over models and over probes."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from .bootstrap import Interval, ModelResamples, bca_interval, clopper_pearson
from .checks import Values
from .figures import Draws, Figure, auc_figure, f1_figure, tpr_figure
from .metrics import welch_p_value
from .pool import attainable_p_value, calibrated_threshold, conformal_p_value, largest_count


@dataclass(frozen=True)
class Estimate:
    """A figure with its confidence intervals.

    Attributes:
        value: the figure; None if it is not defined, with the reason in `note`.
        over_models: interval over other models of the same kinds.
        over_probes: interval over other probes; None without distances under resampled probes, or if all resamples
            give the same figure.
        note: remark for the reader.

    Example::

        >>> from sac_fast.verdict import evaluate_distances
        >>> evaluate_distances({"finetune": [0.1, 0.2]}, {"other-data": [0.15, 0.4]}, resamples=100).overall.auc.value
        0.75
    """

    value: float | None
    over_models: Interval | None = None
    over_probes: Interval | None = None
    note: str | None = None


@dataclass(frozen=True)
class Comparison:
    """All figures of some derived models against some independents.

    Attributes:
        derived, independent: names of the groups compared.
        derived_count, independent_count: numbers of models.
        auc: see `sac_fast.verdict.auc`.
        tpr_at_fpr: see `sac_fast.verdict.tpr_at_fpr`; keys are rates as text (``"0.01"``).
        f1: see `sac_fast.verdict.f1_at_rate`.
        threshold: calibrated on these independents; None if they are too few.
        attainable_p_value: the smallest conformal p-value that they allow.
        median_p_value: median of the p-values of the derived models.
        detected: share of the derived models with a conformal p-value of at most α; None if that is not attainable.
        welch_p_value: see `sac_fast.verdict.welch_p_value`.

    Example::

        >>> from sac_fast.verdict import evaluate_distances
        >>> found = evaluate_distances({"finetune": [0.1, 0.2]}, {"other-data": [0.15, 0.4]}, resamples=100).overall
        >>> found.derived, found.derived_count, found.threshold
        (('finetune',), 2, None)
    """

    derived: tuple[str, ...]
    independent: tuple[str, ...]
    derived_count: int
    independent_count: int
    auc: Estimate
    tpr_at_fpr: dict[str, Estimate]
    f1: Estimate
    threshold: float | None
    attainable_p_value: float
    median_p_value: float
    detected: Estimate
    welch_p_value: float | None


@dataclass
class Comparer:
    """Compares groups of models with one set of resamples; arguments as checked by `evaluate_distances`."""

    near: dict[str, Values]
    far: dict[str, Values]
    replicates: tuple[dict[str, Values], dict[str, Values]] | None
    rate: float
    rates: list[float]
    confidence: float
    resamples: int
    seed: int

    def __post_init__(self) -> None:
        sizes = [len(values) for values in (*self.near.values(), *self.far.values())]
        names = _groups(tuple(self.near), tuple(self.far))
        self.models = ModelResamples(dict(zip(names, sizes, strict=True)), self.resamples, self.seed)

    def compare(self, attacks: tuple[str, ...], kinds: tuple[str, ...]) -> Comparison:
        """The named attacks, pooled, against the named kinds, pooled."""
        near, far = _pooled(self.near, attacks), _pooled(self.far, kinds)
        p_values = conformal_p_value(near, far)
        threshold = calibrated_threshold(far, self.rate)
        if threshold is None:
            f1 = detected = Estimate(
                None,
                note=f"inconclusive: {far.size} independents give no p-value below {attainable_p_value(far.size):.3g}, "
                f"and the rate is {self.rate:g}",
            )
        else:
            f1 = self._estimate(f1_figure(self.rate), [attacks], kinds)
            found = int((p_values <= self.rate).sum())
            interval = clopper_pearson(found, near.size, self.confidence)
            detected = Estimate(found / near.size, interval, note="nulls held fixed")
        figures = self._rank_figures([attacks], kinds)
        return Comparison(
            derived=attacks,
            independent=kinds,
            derived_count=near.size,
            independent_count=far.size,
            auc=figures.pop("auc"),
            tpr_at_fpr={name.removeprefix("tpr_at_fpr:"): figure for name, figure in figures.items()},
            f1=f1,
            threshold=threshold,
            attainable_p_value=attainable_p_value(far.size),
            median_p_value=float(np.median(p_values)),
            detected=detected,
            welch_p_value=welch_p_value(near, far),
        )

    def means(self) -> dict[str, Estimate]:
        """The mean of the attacks' figures against all independents: AUC and true positive rates."""
        return self._rank_figures([(attack,) for attack in self.near], tuple(self.far))

    def _rank_figures(self, pools: list[tuple[str, ...]], kinds: tuple[str, ...]) -> dict[str, Estimate]:
        """``auc`` and ``tpr_at_fpr:RATE``, each the mean over pools of attacks."""
        near = sum(len(self.near[name]) for pool in pools for name in pool)
        far = sum(len(self.far[name]) for name in kinds)
        figures = {"auc": self._estimate(auc_figure, pools, kinds, trials=min(near, far))}
        for rate in self.rates:
            note = None
            if largest_count(rate, far) == 0:
                note = f"at no false accusation at all: {far} independents are too few for a rate of {rate:g}"
            figures[f"tpr_at_fpr:{rate:g}"] = self._estimate(tpr_figure(rate), pools, kinds, trials=near, note=note)
        return figures

    def _estimate(
        self,
        figure: Figure,
        pools: list[tuple[str, ...]],
        kinds: tuple[str, ...],
        trials: int = 0,
        note: str | None = None,
    ) -> Estimate:
        """The mean of a figure over pools of attacks; an interval where it is 0 or 1 needs the number of trials."""
        over_models = np.mean([figure(self._draws(pool, kinds)) for pool in pools], axis=0)
        value = float(over_models[0])
        groups = _groups(tuple(itertools.chain(*pools)), kinds)
        # BCa's acceleration assumes a smooth figure; rates at a threshold are step functions.
        interval = self.models.interval(over_models, groups, self.confidence, bca=figure is auc_figure)
        if interval is None and value in (0.0, 1.0) and trials:
            # All resamples agree, which is not certainty: `trials` disjoint pairs (AUC) or models (rates) agreed.
            interval = clopper_pearson(round(value) * trials, trials, self.confidence)
        notes = [note, "no interval: no resample of the models differs" if interval is None else None]
        probes = None
        if self.replicates is not None:
            over_probes = np.mean([figure(self._probe_draws(pool, kinds)) for pool in pools], axis=0)
            if np.ptp(over_probes) > 0:
                probes = bca_interval(value, over_probes, [], self.confidence)
            else:
                notes.append("no interval over probes: no resample of them differs")
        return Estimate(value, interval, probes, "; ".join(filter(None, notes)) or None)

    def _draws(self, attacks: tuple[str, ...], kinds: tuple[str, ...]) -> Draws:
        weights = self.models.weights_of(_groups(attacks, ())), self.models.weights_of(_groups((), kinds))
        return Draws(_pooled(self.near, attacks)[None], _pooled(self.far, kinds)[None], *weights)

    def _probe_draws(self, attacks: tuple[str, ...], kinds: tuple[str, ...]) -> Draws:
        assert self.replicates is not None
        near, far = self.replicates
        return Draws.of_values(_pooled(near, attacks).T, _pooled(far, kinds).T)


def _pooled(groups: dict[str, Values], names: tuple[str, ...]) -> Values:
    return np.concatenate([groups[name] for name in names])


def _groups(attacks: tuple[str, ...], kinds: tuple[str, ...]) -> list[str]:
    """Names of the groups in the resamples; an attack and a kind may have the same name."""
    return [*(f"stolen {name}" for name in attacks), *(f"independent {name}" for name in kinds)]
