"""What a known common ancestor leaves to explain: a's and b's differences from it.

Given the ancestor, units are told apart by its values, so nothing is exchangeable and no exact p-value follows:
fine-tuning moves the same units in independent copies too. What is measured is geometry, and independents that come
from the same ancestor calibrate it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .layers import Layer

_MIN_CHANGE = 1e-6  # of a layer's length: below it the layer did not move


@dataclass(frozen=True)
class Divergence:
    """Two models' ways from their ancestor c; medians over the layers that both moved.

    Attributes:
        layers: number of these layers.
        cosine: of a − c and b − c.
        part_of_a: (a − c)·(b − c) / |a − c|²: 1 where b went a's way whole, 0 where it went its own.
        part_of_b: the same with |b − c|².
        moved: median of |a − c| / |c| and |b − c| / |c|.
    """

    layers: int
    cosine: float
    part_of_a: float
    part_of_b: float
    moved: tuple[float, float]


def measure_divergence(
    a: Mapping[str, Layer], b: Mapping[str, Layer], ancestor: Mapping[str, Layer]
) -> Divergence | None:
    """Compare two models' differences from an ancestor, over layers of one name and shape.

    Args:
        a, b, ancestor: layers by name.

    Returns:
        The divergence; None where no layer was moved by both.
    """
    rows = []
    for name, layer in ancestor.items():
        sides = [side.get(name) for side in (a, b)]
        if any(side is None or side.shape != layer.shape for side in sides):
            continue
        base = layer.read().astype(np.float64)
        ours, theirs = (side.read() - base for side in sides)  # type: ignore[union-attr]
        length = np.linalg.norm(base)
        lengths = np.linalg.norm(ours), np.linalg.norm(theirs)
        if not np.isfinite([length, *lengths]).all() or min(lengths) <= _MIN_CHANGE * length:
            continue
        dot = float((ours * theirs).sum())
        rows.append(
            (dot / (lengths[0] * lengths[1]), dot / lengths[0] ** 2, dot / lengths[1] ** 2, *np.divide(lengths, length))
        )
    if not rows:
        return None
    cosine, part_a, part_b, moved_a, moved_b = (float(value) for value in np.median(rows, axis=0))
    return Divergence(len(rows), cosine, part_a, part_b, (moved_a, moved_b))


def describe_divergence(
    found: Divergence | None, related: Sequence[bool], p_value: float | None = None, alpha: float = 0.0
) -> str:
    """One sentence on what the ancestor explains.

    Args:
        found: of `measure_divergence`.
        related: whether a, and b, are related to the ancestor.
        p_value: of the cosine beside independents from the same ancestor; None: there are none.
        alpha: α.
    """
    if not all(related):
        names = " and ".join(name for name, fits in zip("ab", related, strict=True) if not fits)
        return f"{names} and the ancestor are not distinguished from independent models: it explains nothing."
    if found is None:
        return "No layer was changed by both: the ancestor explains what they share."
    if p_value is None:
        if found.cosine < _OWN_WAY:
            return "a and b went ways of their own: the ancestor explains what they share."
        return (
            f"a and b share part of their way from the ancestor (cosine {found.cosine:.2f}), which independents of one "
            "task do too: not decided without independents that come from the ancestor."
        )
    if p_value > alpha:
        return "a and b share no more of their way from the ancestor than the independents do."
    further, nearer = ("b", "a") if found.part_of_a > found.part_of_b else ("a", "b")
    return (
        f"a and b share more of their way from the ancestor than the independents do; {further} lies further along it, "
        f"so that it looks derived from {nearer}."
    )


#: A cosine that a copy has only if it went ten times as far again; `benchmarks/simulate_weights.py` has those of honest
#: siblings of one task, 0.1 to 0.9.
_OWN_WAY = 0.1
