"""Models that hold others' weights in other ways: merges of several parents, and adapters of low rank."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ...errors import require
from ...formats.weights import WeightArray
from .arrays import NamedWeights, Weights, open_any
from .fixed_points import Array

MAX_PARENTS = 16
_MIN_ROWS = 4
_ADAPTER = re.compile(r"(?:base_model\.model\.)?(.+)\.lora_(A|B)(?:\.[A-Za-z0-9_-]{1,64})?\.weight")


@dataclass(frozen=True)
class MergedLayer:
    """An array of the child as a sum of the parents' arrays.

    Attributes:
        name: of the array.
        shares: w of ``child ≈ Σ_p w_p · parent_p``, fitted on every second row.
        explained: 1 − |child − Σ w_p parent_p|² / |child|² on the other rows: 1 for a merge, about 0 for a stranger;
            negative where the fit does not carry over.
    """

    name: str
    shares: tuple[float, ...]
    explained: float


@dataclass(frozen=True)
class MergeResult:
    """What parents explain of a model; geometry, without a p-value.

    Attributes:
        parents: their names.
        layers: arrays of two or more axes that all of them have, in the child's order.
        shares: median of the layers' shares, by parent.
        explained: median of the layers' `MergedLayer.explained`.
        compared: share of the child's values in these layers.
    """

    parents: tuple[str, ...]
    layers: tuple[MergedLayer, ...]
    shares: tuple[float, ...]
    explained: float
    compared: float

    def to_dict(self) -> dict[str, Any]:
        """All fields as JSON values."""
        return asdict(self)


def explain_merge(child: Weights, parents: Sequence[Weights] | Mapping[str, Weights]) -> MergeResult:
    """Explain a model's layers by shares of several parents, such as those of a model soup or of task arithmetic.

    For each array that all have under one name and shape, ``w = argmin |child − Σ_p w_p · parent_p|²`` over every
    second row, and what w explains is measured on the other rows, which had no part in the fit. It is geometry and no
    test: whether two files are related at all is what `weights_test` says.

    Args:
        child: a path, a mapping of names to arrays or tensors, or a module.
        parents: two or more of the same kinds, a common base among them if there is one; by name, or in a sequence.

    Returns:
        Shares and what they explain, for each layer and in the median.

    Raises:
        ModelRefusedError: a file that cannot be read safely.
        ValueError: fewer than 2 or more than 16 parents, or no array that all have.

    Example::

        >>> rng = np.random.default_rng(0)
        >>> a, b = ({"0.weight": rng.normal(size=(16, 27)), "2.weight": rng.normal(size=(8, 16))} for _ in "ab")
        >>> merged = {name: 0.3 * a[name] + 0.7 * b[name] for name in a}
        >>> found = explain_merge(merged, {"a": a, "b": b})
        >>> [round(share, 3) for share in found.shares], round(found.explained, 3)
        ([0.3, 0.7], 1.0)

    Source: Wortsman et al. 2022 (model soups); Ilharco et al. 2023 (task arithmetic).
    """
    named = parents if isinstance(parents, Mapping) else {f"parent {i}": one for i, one in enumerate(parents)}
    require(2 <= len(named) <= MAX_PARENTS, f"parents must be 2 to {MAX_PARENTS} models", len(named))
    with contextlib.ExitStack() as stack:
        ours = stack.enter_context(open_any(child, "child"))
        theirs = [stack.enter_context(open_any(one, name)) for name, one in named.items()]
        arrays = [{array.name: array for array in one.arrays} for one in theirs]
        layers, values = [], 0
        for array in ours.arrays:
            if _is_matrix(array) and all(one.get(array.name, array).shape == array.shape for one in arrays):
                if any(array.name not in one for one in arrays):
                    continue
                found = _explain(array, [one[array.name] for one in arrays])
                if found is not None:
                    layers.append(found)
                    values += int(np.prod(array.shape))
        require(bool(layers), "child and parents must have an array of one name and shape", "none")
        shares = np.median([layer.shares for layer in layers], axis=0)
        explained = float(np.median([layer.explained for layer in layers]))
        return MergeResult(
            tuple(named), tuple(layers), tuple(map(float, shares)), explained, values / max(1, ours.parameters)
        )


def _is_matrix(array: WeightArray) -> bool:
    return len(array.shape) >= 2 and array.shape[0] >= _MIN_ROWS


def _explain(array: WeightArray, parents: Sequence[WeightArray]) -> MergedLayer | None:
    """None where numbers are not finite, or all zero."""
    child = _rows(array)
    basis = [_rows(parent) for parent in parents]
    if not all(np.isfinite(one).all() for one in (child, *basis)):
        return None
    fitted, held = slice(0, None, 2), slice(1, None, 2)
    x = np.stack([one[fitted].reshape(-1) for one in basis], axis=1)
    shares, *_ = np.linalg.lstsq(x, child[fitted].reshape(-1), rcond=None)
    rest = child[held] - sum(share * one[held] for share, one in zip(shares, basis, strict=True))
    length = float((child[held] ** 2).sum())
    if not length > 0:
        return None
    return MergedLayer(array.name, tuple(map(float, shares)), 1 - float((rest**2).sum()) / length)


def _rows(array: WeightArray) -> Array:
    return array.read().reshape(array.shape[0], -1).astype(np.float64)


def describe_adapter(adapter: NamedWeights, base: NamedWeights) -> dict[str, Any] | None:
    """Whether the shapes of a LoRA adapter fit a model: its A is (rank, inputs), its B (outputs, rank).

    Args:
        adapter, base: open models.

    Returns:
        ``targets``: number of layers that the adapter changes; ``fitting``: those that the base has with these shapes;
        ``ranks``: that occur, sorted. None: the first file is no adapter.
    """
    pairs: dict[str, dict[str, tuple[int, ...]]] = {}
    for array in adapter.arrays:
        found = _ADAPTER.fullmatch(array.name)
        if found is not None and len(array.shape) == 2:
            pairs.setdefault(found[1], {})[found[2]] = array.shape
    whole = {name: sides for name, sides in pairs.items() if len(sides) == 2 and sides["A"][0] == sides["B"][1]}
    if not whole:
        return None
    shapes = {array.name: array.shape for array in base.arrays}
    prefix = "" if any(f"{name}.weight" in shapes for name in whole) else "model."
    fitting = sum(
        shapes.get(f"{name}.weight", shapes.get(prefix + f"{name}.weight")) == (sides["B"][0], sides["A"][1])
        for name, sides in whole.items()
    )
    return {"targets": len(whole), "fitting": fitting, "ranks": sorted({sides["A"][0] for sides in whole.values()})}
