"""Shares with intervals: exact over models, and over sources, whose models are right or wrong together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..verdict.bootstrap import clopper_pearson
from .accusation_matrix import is_below
from .rulings import KIN, Ruling
from .sources import SourceZoo, family

RATES = (0.01, 0.05, 0.1)
CONFIDENCE = 0.95
ALL = "all"


@dataclass(frozen=True)
class Share:
    """A share of models, by source.

    Attributes:
        by_source: (hits, models) of each source.

    Example::

        >>> Share(((1, 10), (0, 10))).value
        0.05
    """

    by_source: tuple[tuple[int, int], ...]

    @property
    def hits(self) -> int:
        """Over all sources."""
        return sum(hits for hits, _ in self.by_source)

    @property
    def models(self) -> int:
        """Over all sources."""
        return sum(models for _, models in self.by_source)

    @property
    def value(self) -> float | None:
        """Hits over models; None without models."""
        return self.hits / self.models if self.models else None

    def exact(self) -> tuple[float, float] | None:
        """Clopper and Pearson's interval, as if models were independent of each other; None without models."""
        if not self.models:
            return None
        interval = clopper_pearson(self.hits, self.models, CONFIDENCE)
        return interval.low, interval.high

    def clustered(self) -> tuple[float, float] | None:
        """Student's t interval of the mean over sources of their shares, cut to 0 … 1.

        None for fewer than two sources, and where all have the same share: sources then show no spread.
        """
        from scipy.stats import t  # imported late: slow to import

        shares = np.array([hits / models for hits, models in self.by_source if models])
        if len(shares) < 2 or np.ptp(shares) == 0:
            return None
        half = t.ppf(0.5 + CONFIDENCE / 2, len(shares) - 1) * shares.std(ddof=1) / np.sqrt(len(shares))
        return max(0.0, float(shares.mean() - half)), min(1.0, float(shares.mean() + half))

    def to_dict(self) -> dict[str, Any]:
        """As JSON values; intervals to six digits."""
        return {
            "hits": self.hits,
            "models": self.models,
            "share": None if self.value is None else round(self.value, 6),
            "exact": _rounded(self.exact()),
            "clustered": _rounded(self.clustered()),
            "by_source": [list(pair) for pair in self.by_source],
        }


def _rounded(interval: Sequence[float] | None) -> list[float] | None:
    return None if interval is None else [round(bound, 6) for bound in interval]


def accusations(rulings: Sequence[Ruling], sources: Mapping[str, SourceZoo], alpha: float, kind: str = ALL) -> Share:
    """Honest models of a kind that a ground accuses at p ≤ α, by source.

    Args:
        rulings: of one ground, one for each source.
        sources: by key.
        alpha: the stated rate.
        kind: of the honest models; "sibling" for siblings that did not judge, which "all" leaves out.
    """
    pairs = []
    for ruling in rulings:
        loaded = sources[ruling.source].loaded
        if kind == KIN:
            names = [m.name for m in loaded.siblings]
        else:
            names = [m.name for m in loaded.independents if kind in (ALL, m.origin)]
        p_values = [ruling.p_values[name] for name in names if name in ruling.p_values]
        pairs.append((sum(is_below(p, alpha) for p in p_values), len(p_values)))
    return Share(tuple(pairs))


def found(
    rulings: Sequence[Ruling],
    sources: Mapping[str, SourceZoo],
    alpha: float,
    attack: str = ALL,
    *,
    families: bool = False,
    working: bool = True,
) -> Share:
    """Thefts of an attack that a ground finds at p ≤ α, by source.

    Args:
        rulings: of one ground, one for each source.
        sources: by key.
        alpha: the stated rate.
        attack: its name, or of a family.
        families: `attack` names a family.
        working: count the thefts that kept within 5 points of the source's accuracy; False: the others.
    """
    pairs = []
    for ruling in rulings:
        source = sources[ruling.source]
        names = [
            m.name
            for m in source.loaded.stolen
            if attack in (ALL, family(m.origin) if families else m.origin) and source.works(m) == working
        ]
        p_values = [ruling.p_values[name] for name in names if name in ruling.p_values]
        pairs.append((sum(is_below(p, alpha) for p in p_values), len(p_values)))
    return Share(tuple(pairs))


def kinds_of(sources: Sequence[SourceZoo]) -> list[str]:
    """Kinds of the honest models of all sources, in order of first appearance."""
    return list(dict.fromkeys(m.origin for source in sources for m in source.loaded.independents))


def attacks_of(sources: Sequence[SourceZoo]) -> list[str]:
    """Attacks of all sources, by family and name."""
    names = {m.origin for source in sources for m in source.loaded.stolen}
    return sorted(names, key=lambda name: (family(name), name))
