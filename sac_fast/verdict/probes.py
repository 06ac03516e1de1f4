"""Bootstrap intervals over probes: how much distances vary with other probes of the same kind.

The distance is a mean over pairs of probes, so a resample with counts w needs wᵀDw, which
`sac_fast.correlation_distance_weighted` computes for all resamples in one pass.

Bias correction: a probe drawn twice is paired with its own copy, where D is 0 (C_ii = 1 in both models), whereas n new
probes would form n(n − 1) pairs of different probes. The pairs i ≠ j have only (1 − 1/n) of a resample's weight
on average, so wᵀDw / n² lies 1/n below the distance. A replicate is therefore the mean over the pairs of *different*
probes, scaled as in the definition:

    d* = (1 − 1/n) Σ_{i≠j} w_i D_ij w_j / ((Σ w)² − Σ w²)  +  (1/n²) Σ_i w_i D_ii

with Σ w = n. The second term is the contribution of zero rows to the diagonal. With w = 1, d* is the distance.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..io.choices import Backend, Metric
from . import checks
from .bootstrap import Interval, bca_interval

if TYPE_CHECKING:
    from torch import Tensor

    Outputs = Tensor | np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class ProbeBootstrap:
    """Distances of models to one source, and their replicates under resampled probes.

    Attributes:
        names: names of the models.
        distances: (m,) float64.
        replicates: (m, R) float64; column r of all models is under the same resample of the probes, so that
            differences, ranks and AUCs of replicates are replicates of differences, ranks and AUCs.
        probes: n.
        confidence: confidence level of `interval`.

    Example::

        >>> import torch
        >>> source = torch.randn(50, 10, generator=torch.Generator().manual_seed(0))
        >>> found = probe_bootstrap(source, {"copy": source, "negated": -source}, resamples=20)
        >>> found.replicates.shape, found.distances.tolist()[0], found.standard_errors.tolist()[0]
        ((2, 20), 0.0, 0.0)
    """

    names: tuple[str, ...]
    distances: checks.Values
    replicates: checks.Values
    probes: int
    confidence: float

    @property
    def standard_errors(self) -> checks.Values:
        """(m,) standard error of each distance over probes; decreases as 1/√n."""
        return np.asarray(self.replicates.std(axis=1, ddof=1))

    def interval(self, name: str) -> Interval:
        """Bias-corrected interval of one model's distance over probes.

        Raises:
            KeyError: an unknown name.
        """
        if name not in self.names:
            raise KeyError(f"name must be one of {', '.join(self.names[:20])}, got {name!r}")
        row = self.names.index(name)
        drawn = self.replicates[row]
        return bca_interval(float(self.distances[row]), drawn, [], self.confidence)

    def replicates_of(self, names: list[str] | tuple[str, ...]) -> checks.Values:
        """Replicates (len(names), R) of the named models, as `evaluate_distances` takes them for one group."""
        return self.replicates[[self.names.index(name) for name in names]]

    def to_dict(self) -> dict[str, Any]:
        """Distance, standard error and interval of every model, as JSON values; without the replicates."""
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
    """Multinomial counts of n probes in R resamples of size n with replacement.

    A resample that holds one probe n times has no pair of different probes and is drawn again.

    Args:
        probes: n, at least 2.
        resamples: R, at least 1.
        seed: seed of the draw.

    Returns:
        (R, n) int64; each row sums to n.

    Raises:
        TypeError, ValueError: not integers, or too small.

    Example::

        >>> counts = probe_counts(100, 5)
        >>> counts.shape, counts.sum(axis=1).tolist()
        ((5, 100), [100, 100, 100, 100, 100])
    """
    n, rows = checks.check_count("probes", probes, minimum=2), checks.check_count("resamples", resamples, minimum=1)
    rng = np.random.default_rng(checks.check_count("seed", seed))
    counts = rng.multinomial(n, np.full(n, 1 / n), size=rows)
    while (alone := counts.max(axis=1) == n).any():
        counts[alone] = rng.multinomial(n, np.full(n, 1 / n), size=int(alone.sum()))
    return counts


def half_samples(probes: int, resamples: int, seed: int = 0) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Random halves of n probes without replacement: resamples for scores that repeated probes would bias.

    The mean over a random half varies around the mean over all n probes as the latter varies around its expectation
    (variance σ²/(n/2) · (1 − ½) = σ²/n), and so do smooth scores. ``score(source[half], suspect[half])`` is therefore a
    replicate of any score, as `evaluate_distances` takes it; `probe_bootstrap` is faster for the l1 distance.

    Args:
        probes: n, at least 4.
        resamples: R, at least 1.
        seed: seed of the draw.

    Returns:
        (R, ⌊n/2⌋) int64 indices, ascending in each row.

    Raises:
        TypeError, ValueError: not integers, or too small.

    Example::

        >>> half_samples(9, 3).shape
        (3, 4)

    Source: the delete-d jackknife with d = n/2: Shao, Wu, "A general theory for jackknife variance estimation", Ann.
    Statist. 1989.
    """
    n, rows = checks.check_count("probes", probes, minimum=4), checks.check_count("resamples", resamples, minimum=1)
    rng = np.random.default_rng(checks.check_count("seed", seed))
    halves = [np.sort(rng.choice(n, size=n // 2, replace=False)) for _ in range(rows)]
    return np.stack(halves).astype(np.int64)


def probe_bootstrap(
    source: Outputs,
    suspects: Mapping[str, Outputs],
    *,
    metric: Metric = "cosine",
    sigma: float | None = None,
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
    backend: Backend = "auto",
) -> ProbeBootstrap:
    """Distances ("l1") of models to a source, with bootstrap replicates over probes.

    All models have the same resamples. A row transform that depends on all probes (standardised columns) is applied
    before, and held fixed.

    Args:
        source: (n, k) outputs, tensor or NumPy array.
        suspects: by name, (n, k_s) outputs on the same probes; at least one.
        metric: "cosine", "pearson", "spearman" or "rbf".
        sigma: bandwidth of "rbf". Default: that of `sac_fast.correlation_distance`.
        resamples: R, at least 2.
        confidence: confidence level of the intervals.
        seed: seed of the resamples.
        backend: as for `sac_fast.correlation_distance_weighted`.

    Returns:
        Distances, replicates and intervals.

    Raises:
        TypeError, ValueError, BackendError: as `sac_fast.correlation_distance_weighted`, no suspects, or an option out
            of range.

    Example::

        >>> import torch
        >>> source = torch.randn(50, 10, generator=torch.Generator().manual_seed(0))
        >>> found = probe_bootstrap(source, {"negated": -source, "copy": source}, resamples=20)
        >>> found.interval("copy").high
        0.0

    Source: Efron, Ann. Statist. 1979; for means over pairs Bickel, Freedman, "Some asymptotic theory for the
    bootstrap", Ann. Statist. 1981.
    """
    import torch

    from ..ops import correlation_distance, correlation_distance_weighted
    from ..ops.arguments import DEFAULT_SIGMA, outputs_pair

    confidence = checks.check_rate("confidence", confidence)
    resamples = checks.check_count("resamples", resamples, minimum=2)  # a standard error needs two
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


def _diagonal(a: Tensor, b: Tensor, metric: Metric) -> Tensor:
    """D_ii: 1 if exactly one of the two rows is zero after centring, else 0; for rbf always 0."""
    import torch

    from ..ops.reference import normalised_rows

    if metric == "rbf":
        return torch.zeros(len(a), dtype=torch.float64, device=a.device)
    some_a, some_b = ((normalised_rows(x, metric) != 0).any(dim=1) for x in (a, b))
    return (some_a != some_b).to(torch.float64)
