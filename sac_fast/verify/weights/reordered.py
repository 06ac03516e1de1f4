"""Hidden units that were permuted or rescaled: matched on one half of the evidence, tested on the other.

Networks that learn one task learn alike, so units that are matched on one half resemble each other on the other half
too, in independent networks as well: the share of units that agree has no known null distribution and is compared with
that of models known to be independent.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from .fixed_points import TIE, Array, unit_rows
from .layers import Layer, join_uses

_MAX_UNITS = 1024  # of a layer; an assignment takes the third power
_MAX_ALIGNMENTS = 4  # earlier layers whose order is tried for a layer's inputs


@dataclass(frozen=True)
class Agreement:
    """How well units agree after they were matched.

    Attributes:
        share: median over layers of the share of units whose best match on the second half is the unit that the first
            half assigns.
        layers: name, units and number of units that agree.
    """

    share: float
    layers: tuple[tuple[str, int, int], ...]


@dataclass(frozen=True)
class _Alignment:
    """For each unit of a its unit of b, and how many times larger b's row is."""

    order: Array
    scale: Array


def measure_agreement(left: Sequence[Layer], right: Sequence[Layer]) -> Agreement:
    """Match hidden units layer by layer and count those that the other half of their inputs confirms.

    The inputs of a layer are taken in the order that an earlier layer's units were matched in, whichever fits best.

    Args:
        left, right: layers of a and of b that are not left out, in the order of their files.

    Returns:
        The agreement; a share of 0 without comparable layers.
    """
    known: list[_Alignment] = []
    found = []
    for a, b in _partners(left, right):
        x, y = (_arrange(layer, a, b) for layer in (a, b))
        if not (np.isfinite(x).all() and np.isfinite(y).all()):
            continue
        best = max((_match_halves(x, moved) for moved in _orders_of_inputs(y, known)), key=lambda match: match[0])
        _, agreeing, moved = best
        found.append((a.name, len(x), agreeing))
        known.insert(0, _align(x, moved))
    share = float(np.median([agreeing / units for _, units, agreeing in found])) if found else 0.0
    return Agreement(share, tuple(found))


def _partners(left: Sequence[Layer], right: Sequence[Layer]) -> Iterator[tuple[Layer, Layer]]:
    """Layers of one name and shape, else of one place among those of their shape."""
    places: dict[object, list[Layer]] = {}
    for layer in right:
        places.setdefault(layer.shape, []).append(layer)
    for layer in left:
        use, fitting = layer.use, places.get(layer.shape, [])
        if use.gates > 1 or use.blocks > 1 or use.units(layer.shape) > _MAX_UNITS or not fitting:
            continue
        partner = next((other for other in fitting if other.name == layer.name), fitting[0])
        fitting.remove(partner)
        yield layer, partner


def _arrange(layer: Layer, a: Layer, b: Layer) -> Array:
    """(units, inputs, places of the kernel)."""
    values = layer.read()
    values = values.reshape(*values.shape[:2], -1)
    return np.swapaxes(values, 0, 1) if join_uses(a.use, b.use).side == "columns" else values


def _orders_of_inputs(y: Array, known: Sequence[_Alignment]) -> Iterator[Array]:
    """b's inputs as they are, and in the order and scale in which units of earlier layers were matched."""
    yield y
    inputs = y.shape[1]
    fitting = [alignment for alignment in known if inputs % len(alignment.order) == 0]
    for alignment in fitting[:_MAX_ALIGNMENTS]:
        units = len(alignment.order)
        # a flatten makes several inputs of one unit
        moved = y.reshape(len(y), units, -1)[:, alignment.order]
        yield moved.reshape(y.shape)
        yield (moved * alignment.scale[:, None]).reshape(y.shape)


def _match_halves(x: Array, y: Array) -> tuple[float, int, Array]:
    """Mean |cosine| of the assignment on the first half, units that the second half confirms, y."""
    halves = [tuple(_half(side, number) for side in (x, y)) for number in (0, 1)]
    first, second = (np.abs(unit_rows(ours) @ unit_rows(theirs).T) for ours, theirs in halves)
    rows, columns = linear_sum_assignment(-first)
    given = second[rows, columns].copy()
    second[rows, columns] = 0
    return float(first[rows, columns].mean()), int((given > second.max(axis=1) + TIE).sum()), y


def _half(values: Array, number: int) -> Array:
    """Every other input, or every other number where there are few inputs."""
    return values[:, number::2] if values.shape[1] >= 8 else values.reshape(len(values), -1)[:, number::2]


def _align(x: Array, y: Array) -> _Alignment:
    """The order by all numbers of the units."""
    _, order = linear_sum_assignment(-np.abs(unit_rows(x) @ unit_rows(y).T))
    ours, theirs = (np.sqrt((side.reshape(len(side), -1).astype(np.float64) ** 2).sum(axis=1)) for side in (x, y))
    scale = np.where(ours > 0, theirs[order] / np.where(ours > 0, ours, 1), 1).astype(np.float32)
    return _Alignment(order, scale)
