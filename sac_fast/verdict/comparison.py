"""Derived models against independents: every figure with its intervals over models and over probes."""

from __future__ import annotations

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


class Comparer:
    """Compares groups of models with one set of resamples; arguments as checked by `evaluate_distances`."""

    def __init__(
        self,
        near: dict[str, Values],
        far: dict[str, Values],
        replicates: tuple[dict[str, Values], dict[str, Values]] | None,
        rate: float,
        rates: list[float],
        confidence: float,
        resamples: int,
        seed: int,
    ) -> None:
        self.near, self.far, self.replicates = near, far, replicates
        self.rate, self.confidence = rate, confidence
        self.rates = {f"{value:g}": value for value in rates}
        sizes = [len(values) for values in (*near.values(), *far.values())]
        self.models = ModelResamples(dict(zip(_groups(tuple(near), tuple(far)), sizes, strict=True)), resamples, seed)

    def compare(self, attacks: tuple[str, ...], kinds: tuple[str, ...]) -> Comparison:
        """The named attacks, pooled, against the named kinds, pooled."""
        near, far = self._pooled(attacks, kinds)
        p_values = conformal_p_value(near, far)
        found = int((p_values <= self.rate).sum())
        threshold = calibrated_threshold(far, self.rate)
        f1 = self._estimate(f1_figure(self.rate), attacks, kinds)
        interval = clopper_pearson(found, near.size, self.confidence)
        detected = Estimate(found / near.size, interval, note="nulls held fixed")
        if threshold is None:
            f1 = detected = Estimate(
                None,
                note=f"inconclusive: {far.size} independents give no p-value below {attainable_p_value(far.size):.3g}, "
                f"and the rate is {self.rate:g}",
            )
        return Comparison(
            derived=attacks,
            independent=kinds,
            derived_count=near.size,
            independent_count=far.size,
            auc=self._estimate(auc_figure, attacks, kinds, trials=min(near.size, far.size)),
            tpr_at_fpr={
                name: self._estimate(
                    tpr_figure(rate), attacks, kinds, trials=near.size, note=self._too_few(rate, far.size)
                )
                for name, rate in self.rates.items()
            },
            f1=f1,
            threshold=threshold,
            attainable_p_value=attainable_p_value(far.size),
            median_p_value=float(np.median(p_values)),
            detected=detected,
            welch_p_value=welch_p_value(near, far),
        )

    def means(self) -> dict[str, Estimate]:
        """The mean of the attacks' figures against all independents: AUC and true positive rates."""
        attacks, kinds = tuple(self.near), tuple(self.far)
        near, far = self._pooled(attacks, kinds)
        figures: dict[str, tuple[Figure, int, str | None]] = {"auc": (auc_figure, min(near.size, far.size), None)}
        for name, rate in self.rates.items():
            figures[f"tpr_at_fpr:{name}"] = (tpr_figure(rate), near.size, self._too_few(rate, far.size))
        means = {}
        for name, (figure, trials, note) in figures.items():
            over_models = np.mean([figure(self._draws((attack,), kinds)) for attack in attacks], axis=0)
            over_probes = None
            if self.replicates is not None:
                over_probes = np.mean([figure(self._probe_draws((attack,), kinds)) for attack in attacks], axis=0)
            means[name] = self._with_intervals(over_models, over_probes, attacks, kinds, figure, trials, note)
        return means

    def _estimate(
        self, figure: Figure, attacks: tuple[str, ...], kinds: tuple[str, ...], trials: int = 0, note: str | None = None
    ) -> Estimate:
        over_models = figure(self._draws(attacks, kinds))
        over_probes = None if self.replicates is None else figure(self._probe_draws(attacks, kinds))
        return self._with_intervals(over_models, over_probes, attacks, kinds, figure, trials, note)

    def _with_intervals(
        self,
        over_models: Values,
        over_probes: Values | None,
        attacks: tuple[str, ...],
        kinds: tuple[str, ...],
        figure: Figure,
        trials: int,
        note: str | None,
    ) -> Estimate:
        value = float(over_models[0])
        # BCa's acceleration assumes a smooth figure; rates at a threshold are step functions.
        interval = self.models.interval(over_models, _groups(attacks, kinds), self.confidence, bca=figure is auc_figure)
        if interval is None and value in (0.0, 1.0) and trials:
            # All resamples agree, which is not certainty: `trials` disjoint pairs (AUC) or models (rates) agreed.
            interval = clopper_pearson(round(value) * trials, trials, self.confidence)
        elif interval is None:
            note = "; ".join(filter(None, [note, "no interval: no resample of the models differs"]))
        probes = None
        if over_probes is not None and np.ptp(over_probes) > 0:
            probes = bca_interval(value, over_probes, [], self.confidence)
        elif over_probes is not None:
            note = "; ".join(filter(None, [note, "no interval over probes: no resample of them differs"]))
        return Estimate(value, interval, probes, note)

    def _pooled(self, attacks: tuple[str, ...], kinds: tuple[str, ...]) -> tuple[Values, Values]:
        return np.concatenate([self.near[name] for name in attacks]), np.concatenate([self.far[name] for name in kinds])

    def _draws(self, attacks: tuple[str, ...], kinds: tuple[str, ...]) -> Draws:
        near, far = self._pooled(attacks, kinds)
        groups = _groups(attacks, kinds)
        weights = self.models.weights_of(groups[: len(attacks)]), self.models.weights_of(groups[len(attacks) :])
        return Draws(near[None], far[None], *weights)

    def _probe_draws(self, attacks: tuple[str, ...], kinds: tuple[str, ...]) -> Draws:
        assert self.replicates is not None
        near, far = self.replicates
        return Draws.of_values(
            np.concatenate([near[name] for name in attacks]).T, np.concatenate([far[name] for name in kinds]).T
        )

    @staticmethod
    def _too_few(rate: float, independents: int) -> str | None:
        if largest_count(rate, independents) > 0:
            return None
        return f"at no false accusation at all: {independents} independents are too few for a rate of {rate:g}"


def _groups(attacks: tuple[str, ...], kinds: tuple[str, ...]) -> list[str]:
    """Names of the groups in the resamples; an attack and a kind may have the same name."""
    return [*(f"stolen {name}" for name in attacks), *(f"independent {name}" for name in kinds)]
