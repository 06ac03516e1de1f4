"""Intervals by resampling probes: how far distances would move with other probes of the same kind.

The distance is a mean over pairs of probes, so a resample with counts w needs wᵀDw, which
`sac_fast.correlation_distance_weighted` gives for all resamples in one pass.

What a resample repeats. A probe drawn twice meets its own copy, and D is 0 there (C_ii = 1 in both models), while n new
probes would have met n(n − 1) pairs of different ones. The pairs i ≠ j carry only (1 − 1/n) of a resample's weight on
average, so wᵀDw / n² lies 1/n below the distance. A replicate here is therefore the mean over the pairs of *different*
probes, put back into the form of the definition:

    d* = (1 − 1/n) Σ_{i≠j} w_i D_ij w_j / ((Σ w)² − Σ w²)  +  (1/n²) Σ_i w_i D_ii

with Σ w = n. The second term is what rows without direction leave on the diagonal. With w = 1 it is the distance.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from . import checks
from .bootstrap import Interval, bca_interval

if TYPE_CHECKING:
    from torch import Tensor

    Outputs = Tensor | np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class ProbeBootstrap:
    """Distances of models to one source, and the same under resampled probes.

    Attributes:
        names: of the models.
        distances: (m,) float64.
        replicates: (m, R) float64; column r of all models is under the same resample of the probes, so that
            differences, ranks and AUCs of replicates are replicates of differences, ranks and AUCs.
        probes: n.
        confidence: of `interval`.
    """

    names: tuple[str, ...]
    distances: checks.Values
    replicates: checks.Values
    probes: int
    confidence: float

    @property
    def standard_errors(self) -> checks.Values:
        """(m,) how far each distance would move with other probes; falls as 1/√n."""
        return np.asarray(self.replicates.std(axis=1, ddof=1))

    def interval(self, name: str) -> Interval:
        """The bias-corrected interval of one model's distance over probes.

        Raises:
            KeyError: no such model.
        """
        if name not in self.names:
            raise KeyError(f"name must be one of {', '.join(self.names[:20])}, got {name!r}")
        row = self.names.index(name)
        drawn = self.replicates[row]
        return bca_interval(float(self.distances[row]), drawn, [], self.confidence)

    def of(self, names: list[str] | tuple[str, ...]) -> checks.Values:
        """(len(names), R) replicates of the named models, as `evaluate_distances` takes them for one group."""
        return self.replicates[[self.names.index(name) for name in names]]

    def to_dict(self) -> dict[str, Any]:
        """Per model the distance, its standard error and interval, for JSON; without the replicates."""
        return {
            "probes": self.probes,
            "resamples": self.replicates.shape[1],
            "confidence": self.confidence,
            "models": {
                name: {"distance": float(d), "standard_error": float(e), "over_probes": self.interval(name).to_dict()}
                for name, d, e in zip(self.names, self.distances, self.standard_errors, strict=True)
            },
        }


def probe_counts(probes: int, resamples: int, seed: int = 0) -> np.ndarray[Any, np.dtype[np.int64]]:
    """How often each of n probes is drawn in R resamples of n with replacement: (R, n) int64.

    Args:
        probes: n, at least 2.
        resamples: R, at least 1.
        seed: of the draw. A resample that holds one probe n times (n = 2 has many) tells of no pair and is drawn again.

    Returns:
        Multinomial counts; each row sums to n.

    Raises:
        TypeError, ValueError: not integers, or too small.
    """
    n, rows = checks.count("probes", probes, least=2), checks.count("resamples", resamples, least=1)
    rng = np.random.default_rng(checks.count("seed", seed))
    counts = rng.multinomial(n, np.full(n, 1 / n), size=rows)
    while (alone := counts.max(axis=1) == n).any():
        counts[alone] = rng.multinomial(n, np.full(n, 1 / n), size=int(alone.sum()))
    return counts


def half_samples(probes: int, resamples: int, seed: int = 0) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Random halves of n probes, none twice: resamples for scores that repeated probes would distort.

    Drawn without replacement, the mean over ⌊n/2⌋ of n probes varies around the mean over all of them as that one
    varies around its expectation (variance σ²/(n/2) · (1 − ½) = σ²/n), and so do smooth scores. So any score, with any
    transform and comparison, has replicates ``score(source[half], suspect[half])`` that `evaluate_distances` takes;
    `probe_bootstrap` is the faster way for the l1 distance.

    Args:
        probes: n, at least 4.
        resamples: R, at least 1.
        seed: of the draw.

    Returns:
        (R, ⌊n/2⌋) int64 indices, rising in each row.

    Raises:
        TypeError, ValueError: not integers, or too small.

    Source: the delete-d jackknife with d = n/2: Shao, Wu, "A general theory for jackknife variance estimation", Ann.
    Statist. 1989.
    """
    n, rows = checks.count("probes", probes, least=4), checks.count("resamples", resamples, least=1)
    rng = np.random.default_rng(checks.count("seed", seed))
    halves = [np.sort(rng.choice(n, size=n // 2, replace=False)) for _ in range(rows)]
    return np.stack(halves).astype(np.int64)


def probe_bootstrap(
    source: Outputs,
    suspects: Mapping[str, Outputs],
    *,
    metric: str = "cosine",
    sigma: float | None = None,
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
    backend: str = "auto",
) -> ProbeBootstrap:
    """Distances ("l1") of models to a source, with what other probes would have given.

    All models meet the same resamples. The distances are those of the transformed outputs as they are given: a row
    transform that looks at all probes (standardised columns) is held fixed.

    Args:
        source: (n, k) outputs, tensor or NumPy array.
        suspects: by name, (n, k_s) outputs on the same probes; at least one.
        metric: "cosine", "pearson", "spearman" or "rbf".
        sigma: bandwidth of "rbf"; None: its default.
        resamples: R, at least 2.
        confidence: of the intervals.
        seed: of the resamples.
        backend: as for `sac_fast.correlation_distance_weighted`.

    Returns:
        Distances, replicates and intervals.

    Raises:
        TypeError, ValueError, BackendError: as `sac_fast.correlation_distance_weighted`, no suspects, or an option out
            of range.

    Source: Efron, Ann. Statist. 1979; for means over pairs Bickel, Freedman, "Some asymptotic theory for the
    bootstrap", Ann. Statist. 1981.
    """
    import torch

    from ..ops import correlation_distance, correlation_distance_weighted
    from ..ops.arguments import DEFAULT_SIGMA, outputs_pair

    confidence = checks.rate("confidence", confidence)
    resamples = checks.count("resamples", resamples, least=2)  # one alone has no standard error
    if not isinstance(suspects, Mapping) or not suspects:
        got = "none" if isinstance(suspects, Mapping) else type(suspects).__name__
        raise ValueError(f"suspects must map at least one name to outputs, got {got}")
    options: dict[str, Any] = {"metric": metric, "sigma": DEFAULT_SIGMA if sigma is None else sigma, "backend": backend}
    distances, replicates = [], []
    counts: Tensor | None = None
    for name, outputs in suspects.items():
        try:
            a, b = outputs_pair(source, outputs)
            n = len(a)
            if counts is None:
                counts = torch.from_numpy(probe_counts(n, resamples, seed)).to(a.device, torch.float64)
                pairs = n**2 - counts.square().sum(dim=1)
            weighted = correlation_distance_weighted(a, b, counts, **options).to(torch.float64)
            distances.append(float(correlation_distance(a, b, **options)))
        except ValueError as error:
            raise ValueError(f"suspects[{name!r}]: {error}") from error
        diagonal = _diagonal(a, b, metric)
        between = weighted * n**2 - counts.square() @ diagonal
        replicates.append(((1 - 1 / n) * between / pairs + counts @ diagonal / n**2).cpu().numpy())
    return ProbeBootstrap(tuple(suspects), np.array(distances), np.stack(replicates), n, confidence)


def _diagonal(a: Tensor, b: Tensor, metric: str) -> Tensor:
    """D_ii: 1 where exactly one of the rows has no direction, else 0; for rbf always 0."""
    import torch

    from ..ops.reference import normalised_rows

    if metric == "rbf":
        return torch.zeros(len(a), dtype=torch.float64, device=a.device)
    some_a, some_b = ((normalised_rows(x, metric) != 0).any(dim=1) for x in (a, b))
    return (some_a != some_b).to(torch.float64)
