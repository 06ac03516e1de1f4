"""One array as a layer of units: which axis counts the units, and what describes each."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, replace

import numpy as np

from ...formats.weights import WeightArray
from .fixed_points import Array, split_units

MIN_UNITS = 8
MIN_NUMBERS = 8  # that describe a unit: among directions in a plane every one has a near neighbour


@dataclass(frozen=True)
class Use:
    """How the units of an array may be permuted, or why it is left out.

    Attributes:
        left_out: why; None: it is compared.
        side: ``"rows"``, or ``"columns"`` where the units are those of the axis of inputs.
        gates: rows of one unit, gate by gate; the units are a gate's rows.
        blocks: equal blocks of consecutive units; units are exchangeable within a block.
        both_sides: whether rows and columns are, or may be, the same units.
        known: whether a graph or the names of a family say so; else the shapes alone.
    """

    left_out: str | None = None
    side: str = "rows"
    gates: int = 1
    blocks: int = 1
    both_sides: bool = False
    known: bool = False

    def units(self, shape: tuple[int, ...]) -> int:
        """Number of units of an array of (output units, inputs, places …)."""
        return shape[1] if self.side == "columns" else shape[0] // self.gates

    def units_tested(self, shape: tuple[int, ...]) -> int:
        """Number of units that the bound counts."""
        return len(self._split(shape)[0]) if self.both_sides else self.units(shape)

    def describe(self, ordered: Array) -> Array:
        """The numbers that describe each unit tested and no other unit tested.

        Args:
            ordered: (output units, inputs, places …).

        Returns:
            (units tested, …).
        """
        units = self.units(ordered.shape)
        if self.side == "columns":
            return np.swapaxes(ordered, 0, 1)
        if self.gates > 1:
            ordered = np.swapaxes(ordered.reshape(self.gates, units, -1), 0, 1)
        if not self.both_sides:
            return ordered
        rows, columns = self._split(ordered.shape if self.gates == 1 else (self.gates * units, units))
        return ordered[rows][:, :, columns] if self.gates > 1 else ordered[rows][:, columns]

    def _split(self, shape: tuple[int, ...]) -> tuple[Array, Array]:
        return split_units(self.units(shape), self.gates * math.prod(shape[2:]))


@dataclass(frozen=True)
class Layer:
    """An array with its use.

    Attributes:
        array: with `name`, `shape` and `read`.
        use: see `Use`.
        axes: letters of the stored axes; ``""``: (output units, inputs, places …), or not known.
        shape: (output units, inputs, places of the kernel …).
    """

    array: WeightArray
    use: Use
    axes: str
    shape: tuple[int, ...]

    @property
    def name(self) -> str:
        """Of the array."""
        return self.array.name

    @property
    def parameters(self) -> int:
        """Number of values."""
        return math.prod(self.array.shape)

    @property
    def is_dense(self) -> bool:
        """Whether it may be stored transposed."""
        return len(self.shape) == 2 and self.use.gates == 1

    @property
    def key(self) -> tuple[object, ...]:
        """Layers of one key can be copies of each other: a dense one transposed, a kernel lying on its side."""
        sides = sorted(self.shape) if self.is_dense else self.shape[:2]
        kernel = sorted(self.shape[2:]) if len(self.shape) == 4 else self.shape[2:]
        return (tuple(sides), tuple(kernel), self.use.gates)

    def read(self) -> Array:
        """The values as (output units, inputs, places …)."""
        return order_axes(self.array.read(), self.axes)


@functools.lru_cache(maxsize=4096)
def join_uses(a: Use, b: Use) -> Use:
    """The use of two layers that are compared: what is known wins over what shapes tell, then the smaller symmetry."""
    if a.known != b.known:
        return a if a.known else b
    return replace(a if a.blocks >= b.blocks else b, both_sides=a.both_sides or b.both_sides)


def ordered_shape(shape: tuple[int, ...], axes: str) -> tuple[int, ...]:
    """The shape as (output units, inputs, places …); gates count among the output units.

    A kernel that is one place wide is one of a convolution along one axis, however many axes it is stored with.
    """
    if axes:
        side = dict(zip(axes, shape, strict=True))
        rest = tuple(length for letter, length in side.items() if letter not in "goi")
        shape = (side.get("g", 1) * side["o"], side.get("i", 1), *rest)
    if len(shape) == 4 and min(shape[2:]) == 1 < max(shape[2:]):
        return (*shape[:2], max(shape[2:]))
    return shape


def order_axes(array: Array, axes: str) -> Array:
    """The array as (output units, inputs, places …)."""
    if not axes:
        return array.reshape(ordered_shape(array.shape, axes))
    order = [axes.index(letter) for letter in "goi" if letter in axes]
    order += [place for place, letter in enumerate(axes) if letter not in "goi"]
    return array.transpose(order).reshape(ordered_shape(array.shape, axes))
