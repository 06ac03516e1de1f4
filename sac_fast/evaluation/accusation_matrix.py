"""The accusation matrix: honest models of one kind judged by nulls of another, or of their own without themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ..labelled_zoo.folder import ZooMember
from ..verdict import conformal_p_value


def p_by_kind(member: ZooMember, distances: Mapping[str, float], independents: Sequence[ZooMember]) -> dict[str, float]:
    """Conformal p-value of a suspect against the independents of each kind, itself left out.

    It is 1 where the suspect has no distance.
    """
    found = {}
    for kind in dict.fromkeys(m.origin for m in independents):
        nulls = [distances[m.name] for m in independents if m.origin == kind and m.name != member.name]
        nulls = [value for value in nulls if np.isfinite(value)]
        if not nulls:
            continue
        mine = distances[member.name]
        found[kind] = float(conformal_p_value(mine, nulls)) if np.isfinite(mine) else 1.0
    return found


def accusation_matrix(
    distances: Mapping[str, float], independents: Sequence[ZooMember], alpha: float
) -> dict[tuple[str, str], tuple[int, int]]:
    """Accused and judged honest models by the nulls' kind and the judged kind.

    Args:
        distances: by member.
        independents: the honest models, all of them nulls as well.
        alpha: the stated rate; cells with too few nulls for it are left out.

    Returns:
        (accused, judged) by (nulls' kind, judged kind).
    """
    cells: dict[tuple[str, str], tuple[int, int]] = {}
    for member in independents:
        for kind, p_value in p_by_kind(member, distances, independents).items():
            nulls = sum(m.origin == kind and m.name != member.name for m in independents)
            if is_below(1 / (1 + nulls), alpha):
                accused, judged = cells.get((kind, member.origin), (0, 0))
                cells[kind, member.origin] = (accused + is_below(p_value, alpha), judged + 1)
    return cells


def is_below(p_value: float, alpha: float) -> bool:
    """Whether p ≤ α, where 1/20 and 0.05 may differ by a rounding."""
    return p_value <= alpha * (1 + 1e-9)
