"""Which pairs of models are worth an exact test of their weights, from all pairs of their sketches.

Models have layers of different shapes, and a pair is judged by the shapes that both have. So the sweep is a matrix
product a shape and block of models, with models of the same shapes side by side, and complete: every pair above the
threshold is found, however many there are of one model. (`nearest_models` takes outputs on the same probes of every
model, and gives a fixed number of neighbours.)
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from ..io.progress import track
from .weights_sketch import Array, Sketch

_BLOCK = 1_024  # models
_SPREADS = 5.0  # standard deviations of unrelated sketches' cosine, 1/√d of d numbers
_MAX_THRESHOLD = 0.9
_MIN_SHARE = 0.25  # of the layers of common shapes; the exact test asks for half of those that it compares


def find_candidates(sketches: Sequence[Sketch], progress: bool = False) -> list[tuple[int, int]]:
    """Pairs that agree in the shapes of at least a quarter of the layers that they can have in common.

    Args:
        sketches: of m models.
        progress: a bar on stderr.

    Returns:
        (a, b), a < b, sorted.
    """
    order = sorted(range(len(sketches)), key=lambda row: sorted(sketches[row].vectors))
    blocks = [order[start : start + _BLOCK] for start in range(0, len(order), _BLOCK)]
    shapes = [_stack([sketches[row] for row in block]) for block in blocks]
    places = [(i, j) for i in range(len(blocks)) for j in range(i, len(blocks))]
    found = []
    for i, j in track(places, "sketches", enabled=progress):
        for x, y in _agreeing(shapes[i], shapes[j], (len(blocks[i]), len(blocks[j]))):
            if i != j or x < y:
                found.append((min(blocks[i][x], blocks[j][y]), max(blocks[i][x], blocks[j][y])))
    return sorted(found)


_Shapes = dict[str, tuple[Array, Array, Array]]


def _stack(sketches: Sequence[Sketch]) -> _Shapes:
    """Rows of the models that have a shape, their numbers of layers, and their vectors."""
    found: dict[str, list[int]] = {}
    for row, sketch in enumerate(sketches):
        for key in sketch.vectors:
            found.setdefault(key, []).append(row)
    return {
        key: (
            np.array(rows),
            np.array([sketches[row].layers[key] for row in rows], dtype=np.float32),
            np.stack([sketches[row].vectors[key] for row in rows]),
        )
        for key, rows in found.items()
    }


def _agreeing(ours: _Shapes, theirs: _Shapes, size: tuple[int, int]) -> Iterator[tuple[int, int]]:
    common = ours.keys() & theirs.keys()
    if not common:
        return
    votes, layers = np.zeros(size, np.float32), np.zeros(size, np.float32)
    for key in common:
        (rows, counts, left), (columns, others, right) = ours[key], theirs[key]
        threshold = min(_MAX_THRESHOLD, _SPREADS / math.sqrt(left.shape[1]))
        both = np.minimum.outer(counts, others)
        agree = _unit(left) @ _unit(right).T > threshold
        if (len(rows), len(columns)) == size:
            layers += both
            votes += both * agree
        else:
            place = np.ix_(rows, columns)
            layers[place] += both
            votes[place] += both * agree
    x, y = np.nonzero((votes > 0) & (votes >= _MIN_SHARE * layers))
    yield from zip(x.tolist(), y.tolist(), strict=True)


def _unit(vectors: Array) -> Array:
    values = vectors.astype(np.float32)
    unit: Array = values / np.linalg.norm(values, axis=1, keepdims=True)
    return unit
