"""A sketch of a model's weights: a few kB that tell whether an exact test of two models is worth its time.

A layer (output units, inputs, places) gives the magnitudes of fixed units and inputs, units normalised: signs, gains of
batch norms, turned kernels, gates in another order and short dtypes change them little or not at all. The layers of
one shape are added, so that their order does not matter. A sketch decides nothing: it chooses what is tested.
"""

from __future__ import annotations

import functools
import json
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..formats.weights import WeightArray
from ..io.hashing import hash_entries, little_endian
from ..verify.weights.arrays import NamedWeights
from ..verify.weights.layers import Layer, order_axes
from ..verify.weights.rules import describe_layers

Array = NDArray[Any]

VALUES = 256  # of a shape
_SIDE = 16  # units and inputs that are looked at, more of one where there are few of the other
_MIN_INPUTS = 8  # below it the places of a kernel are kept apart
_MIN_VALUES = 16
_MIN_SUM = 1e-6  # below it layers that were made for it cancel each other
_TRAITS_ROWS = 4  # of a layer


@dataclass(frozen=True, eq=False)
class Sketch:
    """What is kept of one model.

    Attributes:
        content_hash: over names, stored dtypes, shapes and values of all arrays.
        parameters: number of values.
        layers: number of layers that can be compared, by shape.
        vectors: int8 of at most `VALUES` numbers, by shape; a shape without finite or differing numbers has none.
        zeros: share of zeros among values looked at.
        distinct: median over layers of the share of different values in a unit's weights: low where quantised.
        short: share of values, other than 0, that float16 or bfloat16 holds without rounding.
    """

    content_hash: str
    parameters: int
    layers: dict[str, int]
    vectors: dict[str, Array]
    zeros: float
    distinct: float
    short: float


def sketch_weights(weights: NamedWeights) -> Sketch:
    """Read every array once, hash it and sketch it.

    Args:
        weights: the model, open.

    Returns:
        The sketch.

    Raises:
        ModelRefusedError: an array that cannot be read.
    """
    sums: dict[str, Array] = {}
    counts: Counter[str] = Counter()
    traits: list[tuple[float, float, float]] = []
    layers = {id(layer.array): layer for layer in describe_layers(weights.arrays, weights.uses)}

    def pieces(array: WeightArray) -> Iterator[memoryview]:
        values = array.read()
        layer = layers[id(array)]
        if layer.use.left_out is None:
            key = json.dumps(layer.key)
            counts[key] += 1
            ordered = order_axes(values, layer.axes)
            vector = sketch_layer(layer, ordered)
            if vector is not None:
                traits.append(_traits(ordered))
                sums[key] = sums.get(key, 0) + vector
        yield little_endian(values).reshape(-1).view(np.uint8).data

    entries = ((array.name, array.dtype, array.shape, pieces(array)) for array in weights.arrays)
    content_hash = hash_entries(entries)
    zeros, distinct, short = np.median(traits, axis=0) if traits else (0.0, 1.0, 0.0)
    vectors = {
        key: np.rint(total * (127 / np.abs(total).max())).astype(np.int8)
        for key, total in sums.items()
        if np.abs(total).max() > _MIN_SUM
    }
    return Sketch(content_hash, weights.parameters, dict(counts), vectors, float(zeros), float(distinct), float(short))


def sketch_layer(layer: Layer, ordered: Array) -> Array | None:
    """One layer's numbers, of length 1.

    Args:
        layer: its use and shape.
        ordered: (output units, inputs, places …).

    Returns:
        At most `VALUES` numbers, as many for every layer of one key; None where they are too few, not finite or equal.
    """
    found = _magnitudes(layer, ordered)
    axis = 0 if layer.use.side == "columns" else 1  # that the numbers of one unit lie along
    largest = found.max(axis=axis, keepdims=True, initial=0)
    if found.size < _MIN_VALUES:
        return None
    found = found / np.where(largest > 0, largest, 1)
    length = np.sqrt((found**2).sum(axis=axis, keepdims=True))
    found = found / np.where(length > 0, length, 1)
    found = found - found.mean(axis=1 - axis, keepdims=True)  # what an input has in all units is no mark of this model
    if layer.is_dense and layer.shape[0] > layer.shape[1]:
        found = found.T  # it may be stored transposed elsewhere
    elif layer.is_dense and layer.shape[0] == layer.shape[1]:
        found = (found + found.T)[np.triu_indices(len(found))]
    norm = math.sqrt(float((found**2).sum()))
    return found.reshape(-1) / norm if norm > 1e-6 else None


def _magnitudes(layer: Layer, ordered: Array) -> Array:
    """Root mean squares over what a copy may turn: (units, inputs), or (units, inputs · places) of few inputs."""
    gates = layer.use.gates
    units, inputs, *places = len(ordered) // gates, *ordered.shape[1:]
    apart = inputs < _MIN_INPUTS and bool(places)
    if layer.is_dense:
        first, second = _counts(min(units, inputs), max(units, inputs))
        first, second = (second, first) if units > inputs else (first, second)
    else:
        first, second = _counts(units, inputs * _sums(tuple(places)) if apart else inputs)
    rows = np.concatenate([gate * units + _spread(units, first) for gate in range(gates)])
    kept = ordered[rows] if apart else ordered[rows][:, _spread(inputs, second)]
    kept = np.abs(kept.astype(np.float64))
    largest = kept.max(initial=0)
    if not np.isfinite(largest):
        return np.zeros((first, second))
    kept = kept / (largest if largest > 0 else 1)  # squares of 1e200 do not fit
    if apart:
        turned = _turn(kept).reshape(len(rows), -1)
        kept = turned[:, _spread(turned.shape[1], second)]
    kept = kept**2
    summed: Array = np.sqrt(kept.reshape(gates, first, second, -1).sum(axis=(0, 3)))
    return summed


def _turn(kernels: Array) -> Array:
    """Sums over magnitudes of kernels (units, inputs, places …), equal for one that is turned or lies on its side.

    Returns:
        (units, inputs, sums), each sum once.
    """
    if kernels.ndim == 4 and kernels.shape[2] > kernels.shape[3]:
        kernels = np.swapaxes(kernels, 2, 3)
    places = kernels.shape[2:]
    numbers = np.arange(math.prod(places)).reshape(places)
    for axis in range(len(places)):
        kernels = kernels + np.flip(kernels, axis + 2)
        numbers = np.minimum(numbers, np.flip(numbers, axis))
    if len(places) == 2 and places[0] == places[1]:
        kernels, numbers = kernels + np.swapaxes(kernels, 2, 3), np.minimum(numbers, numbers.T)
    return kernels.reshape(*kernels.shape[:2], -1)[:, :, np.unique(numbers)]


@functools.lru_cache(maxsize=256)
def _sums(places: tuple[int, ...]) -> int:
    """Number of sums that `_turn` gives of one kernel."""
    return int(_turn(np.zeros((1, 1, *places))).shape[2])


def _counts(units: int, inputs: int) -> tuple[int, int]:
    """How many of both are looked at: `VALUES` together where there are enough."""
    second = min(inputs, max(_SIDE, VALUES // max(1, units)))
    first = min(units, VALUES // second)
    return first, min(inputs, VALUES // max(1, first))


def _spread(length: int, count: int) -> Array:
    return np.linspace(0, length, count, endpoint=False).astype(np.int64)


def _traits(ordered: Array) -> tuple[float, float, float]:
    """Shares of zeros, of different values in a row, and of values that a short float holds."""
    rows = ordered.reshape(len(ordered), -1)[:: max(1, len(ordered) // _TRAITS_ROWS)][:_TRAITS_ROWS]
    full = rows.astype(np.float32)
    distinct = [len(np.unique(row[row != 0])) / max(1, int(np.count_nonzero(row))) for row in full]
    bits = full[full != 0].view(np.uint32)
    short = float(np.mean(bits & 0x1FFF == 0)) if len(bits) else 0.0
    return float(np.mean(full == 0)), float(np.median(distinct)), short
