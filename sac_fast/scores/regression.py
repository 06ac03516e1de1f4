"""Share of a suspect's outputs that the source's outputs do not explain, by ridge regression judged out of sample."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..ops.arguments import check_same_probes

#: Fewer probes give no interval over probes.
MIN_RESAMPLED = 100
# Strengths of the penalty, as shares of the largest eigenvalue of SᵀS, and no regression at all.
_STRENGTHS = (1e-12, 1e-9, 1e-7, *(10.0 ** (exponent / 2) for exponent in range(-12, 3)), float("inf"))
# Directions of the source's outputs with at most this share of the largest variance are rounding errors.
_MIN_SHARE = 1e-12
# A regression with nearly as many degrees of freedom as probes has no errors that could choose its strength.
_MAX_FREEDOM = 0.9
# Outputs of the suspect that are worked on at a time.
_MAX_COLUMNS = 2_048


@dataclass(frozen=True)
class LeaveOneOut:
    """Predictions of each probe of a suspect from all other probes.

    Attributes:
        errors: (n,) float64 ``|x_i − x̂_i|²`` by regression on the source.
        spread: (n,) ``|x_i − x̄_i|²``, with the mean x̄_i of the other probes.
        freedom: effective degrees of freedom of the regression, the mean included.
    """

    errors: Tensor
    spread: Tensor
    freedom: float

    @property
    def share(self) -> float:
        """``Σ errors / Σ spread``; 1 if the suspect's outputs are constant."""
        total = self.spread.sum()
        return float(self.errors.sum() / total) if bool(total > 0) else 1.0


class SourceRegression:
    """Regression of suspects' outputs on those of one source.

    Args:
        source: (n, k) outputs, finite, n ≥ 2; any k.

    Example::

        >>> import torch
        >>> source = torch.randn(40, 100, generator=torch.Generator().manual_seed(0))
        >>> SourceRegression(source).predict(2 * source + 1).share < 1e-9
        True
    """

    def __init__(self, source: Tensor) -> None:
        if source.ndim != 2 or len(source) < 2:
            raise ValueError(f"source must be (n, k) with at least 2 rows (probes), got {tuple(source.shape)}")
        self._source = source
        self._centred = _centred(source)
        n, k = source.shape
        # By the smaller of the two products: of the n × n one where k > n.
        product = self._centred.T @ self._centred if k <= n else self._centred @ self._centred.T
        values, directions = torch.linalg.eigh(product)
        kept = values > _MIN_SHARE * values[-1].clamp(min=torch.finfo(torch.float64).tiny)
        self._values = values[kept]
        basis = directions[:, kept]
        #: (n, r) orthonormal columns that span those of the source.
        self._basis = self._centred @ basis / self._values.sqrt() if k <= n else basis

    def predict(self, suspect: Tensor) -> LeaveOneOut:
        """Leave-one-out errors of a suspect, see `unexplained_share`.

        Args:
            suspect: (n, k') outputs, finite.

        Raises:
            ValueError: another number of rows.
        """
        check_same_probes("suspect", suspect, self._source, "source")
        n, rank = self._basis.shape
        theirs = _centred(suspect)
        start = self._multiple(theirs)
        along, total = torch.zeros(rank, dtype=torch.float64), 0.0
        for _, rest in self._columns(theirs, start):
            along += (self._basis.T @ rest).square().sum(dim=1)
            total += float(rest.square().sum())
        kept = self._choose(along, total, n)
        leverage = 1 / n + self._basis.square() @ kept
        found, spread = torch.zeros(n, dtype=torch.float64), torch.zeros(n, dtype=torch.float64)
        for columns, rest in self._columns(theirs, start):
            residual = rest - self._basis @ (kept[:, None] * (self._basis.T @ rest))
            found += residual.square().sum(dim=1)
            spread += theirs[:, columns].square().sum(dim=1)
        return LeaveOneOut(found / (1 - leverage).square(), spread / (1 - 1 / n) ** 2, 1 + float(kept.sum()))

    def _multiple(self, theirs: Tensor) -> float:
        """The c for which c times the source's outputs are nearest to the suspect's; 0 where k' differs from k."""
        if theirs.shape != self._centred.shape:
            return 0.0
        square = float((self._centred * self._centred).sum())
        return float((self._centred * theirs).sum()) / square if square > 0 else 0.0

    def _columns(self, theirs: Tensor, start: float) -> Iterator[tuple[slice, Tensor]]:
        """Some columns at a time of what c times the source leaves of the suspect."""
        for first in range(0, theirs.shape[1], _MAX_COLUMNS):
            columns = slice(first, first + _MAX_COLUMNS)
            yield columns, theirs[:, columns] - start * self._centred[:, columns] if start else theirs[:, columns]

    def _choose(self, along: Tensor, total: float, n: int) -> Tensor:
        """(r,) shares that the regression keeps of each direction, ``v / (v + λ)``, for the λ with the least GCV."""
        best, least = torch.zeros_like(self._values), float("inf")
        outside = max(0.0, total - float(along.sum()))
        for strength in _STRENGTHS:
            kept = 1 / (1 + strength * self._values.amax() / self._values) if len(self._values) else best
            freedom = 1 + float(kept.sum())
            if freedom > 1 + _MAX_FREEDOM * (n - 1):
                continue
            error = (outside + float(((1 - kept).square() * along).sum())) / (n - freedom) ** 2
            if error < least:
                best, least = kept, error
        return best


def unexplained_share(source: Tensor, suspect: Tensor) -> float:
    """Share of the suspect's variance over the probes that the source's outputs do not predict.

    ``d = Σ_i |x_i − x̂_i|² / Σ_i |x_i − x̄_i|²``: x̂_i is predicted by ridge regression from the source's outputs at
    probe i, fitted to all other probes, and x̄_i is the mean of the others. Where k' = k the regression is shrunk to
    ``c · source`` with the best c, otherwise to 0; generalised cross-validation chooses how much, by the same rule for
    every model. The outputs of a derived model depend on features of the source; those of an independent model
    have a component of their own. Outputs that have nothing to do with the source give 1, up to chance (also above),
    for any n and k: nothing is judged on probes that it was fitted to. k and k' may differ, so models that were
    transferred to other classes can be compared.

    Args:
        source: (n, k) outputs, finite, n ≥ 2; any k.
        suspect: (n, k') outputs, finite.

    Returns:
        At least 0; exactly 0 for equal outputs, 1 if one of the models has constant outputs.

    Raises:
        ValueError: different numbers of rows, or fewer than 2.

    Example::

        >>> import torch
        >>> rng = torch.Generator().manual_seed(0)
        >>> source, other = torch.randn(2, 50, 40, generator=rng)
        >>> unexplained_share(source, source), unexplained_share(source, other) > 0.95
        (0.0, True)

    Source: Golub, Heath, Wahba, "Generalized cross-validation as a method for choosing a good ridge parameter",
    Technometrics 1979; as a distance, the linear regression of Kornblith et al. 2019 (arXiv 1905.00414), section 4.
    """
    return SourceRegression(source).predict(suspect).share


def _centred(x: Tensor) -> Tensor:
    x = x.double()
    # Scaled to magnitude 1 before squaring; shifted first, so that a constant column becomes exactly zero.
    x = x - x[:1]
    x = x - x.mean(dim=0)
    largest = x.abs().max()
    return x / torch.where(largest > 0, largest, 1.0)


def resampled_shares(source: Tensor, suspects: Sequence[Tensor], counts: Tensor) -> Tensor:
    """`unexplained_share` under resamples of the probes, with the regression of all probes.

    The ratio of leave-one-out errors and spread is resampled probe by probe; a regression fitted to a resample would
    predict a repeated probe from its own copy. Deviations are widened by ``√(n / (n − f))``, f the effective degrees of
    freedom, since the errors also share the regression's own. Intervals of 95 % from these held the expected
    score in 95 % of simulated cases for normal outputs, and in 82–90 % where the scale of a probe's outputs varies
    exponentially, for n ≥ `MIN_RESAMPLED` and n ≥ 4 r, r the rank of the source's outputs. They fail for fewer probes.

    Args:
        source: (n, k) outputs, finite.
        suspects: m of (n, k_s) outputs, finite.
        counts: (R, n) ≥ 0: how often each probe was drawn, each row with a sum above 0.

    Returns:
        (m, R) float64, at least 0.

    Raises:
        ValueError: different numbers of rows.

    Example::

        >>> import torch
        >>> source = torch.randn(20, 3, generator=torch.Generator().manual_seed(0))
        >>> resampled_shares(source, [2 * source, source[:, :2]], torch.ones(4, 20)).shape
        torch.Size([2, 4])
    """
    n, regression, weights = len(source), SourceRegression(source), counts.double()
    found = []
    for suspect in suspects:
        predicted = regression.predict(suspect)
        errors, spread = weights @ predicted.errors, weights @ predicted.spread
        drawn = torch.where(spread > 0, errors / torch.where(spread > 0, spread, 1.0), 1.0)
        widening = (n / max(1.0, n - predicted.freedom)) ** 0.5
        found.append((predicted.share + widening * (drawn - predicted.share)).clamp(min=0.0))
    return torch.stack(found)


def supports_intervals(source: Tensor) -> bool:
    """Whether there are enough probes for the intervals of `resampled_shares`."""
    return len(source) >= max(MIN_RESAMPLED, 4 * min(source.shape))
