"""Which layer of one file is compared with which of the other, in which form, and what each comparison gives.

Choosing among c layers and V forms multiplies a layer's p by c · V, whatever the choice was made by: so layers of one
name are tried first, and a part of the units tells which of the others deserve the whole test.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from .fixed_points import Array, count_all_fixed_points, count_fixed_points, log10_bound, same_cosines, unit_rows
from .layers import Layer, Use, join_uses
from .variants import PLAIN, Variant, make_variants

NOT_FINITE = "numbers that are not finite"
_SEARCHED_PAIRS = 4096  # pairs of layers of one key that are looked through
_SKETCH_VALUES = 1 << 18
_MIN_SKETCHED, _MAX_SKETCHED = 16, 128  # units
_MAX_COUNTED = 512  # units: more make p smaller than 1e-1166, at a cost that grows with their square
_CLEAR = -6.0  # log10 p from which no other partner and no other form is tried

Watcher = Callable[[Layer, Layer, Array, Array], None]


@dataclass(frozen=True)
class Comparison:
    """Two layers and the statistic of them.

    Attributes:
        a, b: the layers.
        units: number of units that the bound counts: the first ones of large layers, whole blocks of them.
        blocks: equal blocks of these.
        matches: N.
        cosine: median |cosine| of units of the same number.
        variant: the form of b's array that was compared.
        candidates: c · V, what p was multiplied by.
        log10_p: of the layer, the factor included.
        refused: why there is no statistic; None: there is one.
    """

    a: Layer
    b: Layer
    units: int
    blocks: int
    matches: int
    cosine: float
    variant: str
    candidates: int
    log10_p: float
    refused: str | None = None

    @property
    def attainable_log10_p(self) -> float:
        """The layer's p if every unit matched."""
        return min(0.0, log10_bound(self.units, self.blocks) + math.log10(self.candidates))


def compare_layers(left: Sequence[Layer], right: Sequence[Layer], watch: Watcher | None = None) -> list[Comparison]:
    """Find partners among layers that may be copies of each other, and compare them.

    Args:
        left, right: layers of a and of b that are not left out.
        watch: is given each pair that was read first, with its arrays.

    Returns:
        A comparison for each layer of the side that has fewer of its key.
    """
    groups: dict[tuple[object, ...], tuple[list[Layer], list[Layer]]] = defaultdict(lambda: ([], []))
    for side, layers in enumerate((left, right)):
        for layer in layers:
            groups[layer.key][side].append(layer)
    channels = {layer.shape[0] for layer in (*left, *right) if len(layer.shape) > 2}
    found = []
    for ours, theirs in groups.values():
        if ours and theirs:
            found += _Group(ours, theirs, channels, watch).compare()
    return found


class _Group:
    """The layers of one key."""

    def __init__(self, left: list[Layer], right: list[Layer], channels: set[int], watch: Watcher | None) -> None:
        self.left, self.right = left, right
        self.channels = channels
        self.watch = watch
        self.partners = max(len(left), len(right))
        self.forms: dict[tuple[object, ...], tuple[list[Variant], int]] = {}

    def compare(self) -> list[Comparison]:
        found = [self._first_look(a, b) for a, b in self._by_name()]
        tried = [pair for pair in found if pair.refused is None and pair.log10_p > _CLEAR]
        done = [pair for pair in found if pair not in tried]
        finished = {id(layer) for pair in done for layer in (pair.a, pair.b)}
        left, right = ([layer for layer in side if id(layer) not in finished] for side in (self.left, self.right))
        if not tried or (len(left) == len(right) == 1 and len(self._variants(left[0], right[0])[0]) == 1):
            return found
        if len(left) * len(right) <= _SEARCHED_PAIRS:
            return done + self._search(left, right, tried)
        return done + [self._search([pair.a], [pair.b], [pair])[0] for pair in tried]

    def _by_name(self) -> Iterator[tuple[Layer, Layer]]:
        """Layers of the same name, the others in the order of their files."""
        named = {layer.name: layer for layer in self.right}
        same = [(layer, named[layer.name]) for layer in self.left if layer.name in named]
        taken = {id(layer) for pair in same for layer in pair}
        yield from same
        rest = ([layer for layer in side if id(layer) not in taken] for side in (self.left, self.right))
        yield from zip(*rest, strict=False)

    def _variants(self, a: Layer, b: Layer) -> tuple[list[Variant], int]:
        use = join_uses(a.use, b.use)
        key = (a.shape, b.shape, use, a.array.gates, b.array.gates)
        if key not in self.forms:
            self.forms[key] = make_variants(a, b, use, self.channels)
        return self.forms[key]

    def _first_look(self, a: Layer, b: Layer) -> Comparison:
        ours, theirs = a.read(), b.read()
        name, change = self._variants(a, b)[0][0]
        if self.watch is not None and name == PLAIN:
            self.watch(a, b, ours, theirs)
        return self._test(a, b, ours, change(theirs), name)

    def _test(self, a: Layer, b: Layer, ours: Array, theirs: Array, variant: str) -> Comparison:
        use = join_uses(a.use, b.use)
        candidates = self.partners * self._variants(a, b)[1]
        units, blocks = _units_counted(use, a.shape)
        if not (np.isfinite(ours).all() and np.isfinite(theirs).all()):
            return Comparison(a, b, units, blocks, 0, 0.0, variant, candidates, 0.0, NOT_FINITE)
        x, y = unit_rows(use.describe(ours)[:units]), unit_rows(use.describe(theirs)[:units])
        matches, cosine = count_fixed_points(x, y, blocks), float(np.median(same_cosines(x, y)))
        log10_p = min(0.0, log10_bound(matches, blocks) + math.log10(candidates))
        return Comparison(a, b, units, blocks, matches, cosine, variant, candidates, log10_p)

    def _search(self, left: list[Layer], right: list[Layer], tried: list[Comparison]) -> list[Comparison]:
        """The assignment with the most matches among the first units of each layer."""
        known = {(id(pair.a), id(pair.b), pair.variant): pair for pair in tried}
        counts = np.full((len(left), len(right)), -1)
        forms: dict[tuple[int, int], str] = {}
        for rows, columns, use in _of_one_use(left, right):
            ours = np.stack([_sketch(use, left[i].read()) for i in rows])
            shape = left[rows[0]].shape
            by_form = [self._sketch_forms(left[rows[0]], right[j], use) for j in columns]
            names = [name for name, _ in by_form[0]]
            theirs = np.stack([sketch for sketches in by_form for _, sketch in sketches])
            found = count_all_fixed_points(ours, theirs, _sketched_blocks(use, shape))
            found = found.reshape(len(rows), len(columns), len(names))
            for (i, row), (j, column) in itertools.product(enumerate(rows), enumerate(columns)):
                best = int(found[i, j].argmax())
                counts[row, column], forms[row, column] = found[i, j, best], names[best]
        chosen = []
        for i, j in zip(*linear_sum_assignment(-counts), strict=True):
            a, b, name = left[i], right[j], forms[i, j]
            chosen.append(known.get((id(a), id(b), name)) or self._whole(a, b, name))
        return chosen

    def _sketch_forms(self, a: Layer, b: Layer, use: Use) -> list[tuple[str, Array]]:
        """The first units of b in each form."""
        values = b.read()
        return [(name, _sketch(use, change(values))) for name, change in self._variants(a, b)[0]]

    def _whole(self, a: Layer, b: Layer, variant: str) -> Comparison:
        change = dict(self._variants(a, b)[0])[variant]
        return self._test(a, b, a.read(), change(b.read()), variant)


def _of_one_use(left: list[Layer], right: list[Layer]) -> Iterator[tuple[list[int], list[int], Use]]:
    """Numbers of the layers that share shape and use, on both sides, with the use of their pairs."""
    sides = []
    for layers in (left, right):
        found: dict[tuple[object, ...], list[int]] = defaultdict(list)
        for number, layer in enumerate(layers):
            found[layer.shape, layer.use, layer.array.gates].append(number)
        sides.append(list(found.values()))
    for rows, columns in itertools.product(*sides):
        yield rows, columns, join_uses(left[rows[0]].use, right[columns[0]].use)


def _units_counted(use: Use, shape: tuple[int, ...]) -> tuple[int, int]:
    """Units that the bound counts and their blocks: to permute the first ones among themselves is a symmetry too."""
    if use.blocks == 1:
        return min(use.units_tested(shape), _MAX_COUNTED), 1
    block = use.units(shape) // use.blocks
    blocks = max(1, min(use.blocks, _MAX_COUNTED // block))
    return blocks * block, blocks


def _sketched_blocks(use: Use, shape: tuple[int, ...]) -> int:
    """Number of whole blocks that a sketch holds."""
    if use.blocks == 1:
        return 1
    block = use.units(shape) // use.blocks
    return max(1, min(_sketched_units(use, shape) // block, use.blocks))


def _sketched_units(use: Use, shape: tuple[int, ...]) -> int:
    units = use.units(shape)
    return min(max(_SKETCH_VALUES * units // math.prod(shape), _MIN_SKETCHED), _MAX_SKETCHED, use.units_tested(shape))


def _sketch(use: Use, ordered: Array) -> Array:
    """The first units' rows; numbers that are not finite become zeros, which match nothing."""
    shape = ordered.shape
    blocks = _sketched_blocks(use, shape)
    stop = _sketched_units(use, shape) if use.blocks == 1 else blocks * (use.units(shape) // use.blocks)
    rows = use.describe(ordered)[:stop]
    return unit_rows(np.where(np.isfinite(rows), rows, 0))
