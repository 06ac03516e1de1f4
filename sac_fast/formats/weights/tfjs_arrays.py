"""Arrays of TensorFlow.js models: ``model.json`` and its shards, with affine quantisation.

Source: tfjs-core/src/io/types.ts of TensorFlow.js: WeightsManifestGroupConfig, WeightsManifestEntry.
"""

from __future__ import annotations

import bisect
import contextlib
import functools
import itertools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

from ..identify import open_model_file
from ..json_text import is_finite_number, is_natural, read_json
from ..limits import MAX_DIMENSIONS, Limits, refuse
from .arrays import WeightArray
from .names import Use
from .ranges import FileRanges, item_size, stored_array
from .sharded import check_beside
from .state_dict import StoredArray, named_arrays, reshaped

_DTYPES = {"float32", "int32", "uint8", "bool", "float16", "int8", "int16", "uint16"}
_QUANTISED = {"uint8", "uint16", "float16"}
_MAX_FILES = 512
# Operators of graph models whose second input is their weights.
_CONVS = {
    **dict.fromkeys(("Conv2D", "_FusedConv2D", "DepthwiseConv2dNative", "FusedDepthwiseConv2dNative"), "hwio"),
    "Conv2DBackpropInput": "hwoi",
}
_PRODUCTS = {"MatMul", "_FusedMatMul"}


class _Shards:
    """Several files as one row of bytes."""

    def __init__(self, files: list[FileRanges], name: str) -> None:
        self._files = files
        self._name = name
        self._starts = [0, *itertools.accumulate(file.size for file in files)]

    @property
    def size(self) -> int:
        return self._starts[-1]

    def read_into(self, raw: npt.NDArray[np.uint8], start: int) -> None:
        """Fill an array from ``start``, over the ends of files."""
        done = 0
        while done < len(raw):
            place = start + done
            number = bisect.bisect_right(self._starts, place) - 1
            count = min(len(raw) - done, self._starts[number + 1] - place)
            self._files[number].read_into(raw[done : done + count].data, place - self._starts[number])
            done += count


class _Entry(NamedTuple):
    """One array of a group of shards; ``stored`` is its dtype in the file."""

    dtype: str
    stored: str
    shape: tuple[int, ...]
    scale: float
    least: float


def tfjs_arrays(
    handle: BinaryIO, path: Path, name: str, limits: Limits, resources: contextlib.ExitStack
) -> tuple[WeightArray, ...]:
    """The arrays of a model.

    Args:
        handle: the open ``model.json``, or a manifest alone.
        path: where it is; the shards lie in the same folder.
        name: what messages call it.
        limits: on files, number and sizes.
        resources: closes the shards.

    Returns:
        Arrays in the manifest's order, dequantised when they are read; operators by the graph of a graph model, by
        Keras's names else.

    Raises:
        ModelRefusedError: shards outside of the folder, missing, or not as long as the manifest says.
    """
    said = read_json(handle, name, limits)
    groups = said.get("weightsManifest", said.get(""))  # some keep the manifest in a file of its own
    if not isinstance(groups, list) or not all(isinstance(group, dict) for group in groups):
        refuse("malformed", f"{name} must list its weights in weightsManifest, got another model.json")
    arrays: dict[str, StoredArray] = {}
    total = files = 0
    for group in groups:
        paths, weights = group.get("paths"), group.get("weights")
        if not isinstance(paths, list) or not isinstance(weights, list):
            refuse("malformed", f"{name} must list paths and weights of each group, got another manifest")
        files += len(paths)
        if files > _MAX_FILES:
            refuse("too-large", f"{name} must name at most {_MAX_FILES} files, got more")
        places = [path.parent / check_beside(location, name) for location in paths]
        opened = [resources.enter_context(open_model_file(place, limits)) for place in places]
        shards = _Shards([FileRanges(file, repr(str(at))) for file, at in zip(opened, places, strict=True)], name)
        position = 0
        for weight in weights:
            key, entry = _entry(weight, name)
            if key in arrays:
                refuse("duplicate-keys", f"{name} must name every array once, got {key[:80]!r} twice")
            size = math.prod(entry.shape) * item_size(entry.stored)
            in_memory = math.prod(entry.shape) * item_size(entry.dtype)
            total += in_memory
            limits.check_tensor(name, key, in_memory, total)
            arrays[key] = StoredArray(entry.stored, entry.shape, functools.partial(_read, shards, position, entry))
            limits.check_count(name, len(arrays))
            position += size
        if position != shards.size:
            reason = "truncated" if position > shards.size else "malformed"
            refuse(reason, f"{name} must have shards of {position:,} bytes as its manifest says, got {shards.size:,}")
    if not arrays:
        refuse("no-state-dict", f"{name} must hold arrays, got none")
    uses = _graph_uses(said.get("modelTopology"), arrays)
    return tuple(_with_use(array, arrays[array.name], uses) for array in named_arrays(arrays, keras=True))


def _entry(said: Any, name: str) -> tuple[str, _Entry]:
    """Check one entry of the manifest."""
    fields = said if isinstance(said, dict) else {}
    key, dtype, shape = fields.get("name"), fields.get("dtype"), fields.get("shape")
    how = fields.get("quantization")
    if not isinstance(key, str) or not isinstance(shape, list) or not all(map(is_natural, shape)):
        refuse("malformed", f"{name} must give every array a name and a shape, got {str(said)[:200]!r}")
    if len(shape) > MAX_DIMENSIONS:
        refuse("malformed", f"{name} must hold arrays of at most {MAX_DIMENSIONS} dimensions, got {len(shape)}")
    stored, scale, least = dtype, 1.0, 0.0
    if isinstance(how, dict):
        stored = how.get("dtype")
        scale, least = how.get("scale", 1.0), how.get("min", 0.0)
        if stored not in _QUANTISED or not all(map(is_finite_number, (scale, least))):
            refuse("malformed", f"{name} must quantise to uint8, uint16 or float16, got {str(how)[:200]!r}")
    if dtype not in _DTYPES or stored not in _DTYPES:
        refuse("not-dense", f"{name} must hold known dtypes, got {str(dtype)[:80]!r} at {key[:80]!r}")
    return key, _Entry(str(dtype), str(stored), tuple(shape), float(scale), float(least))


def _read(shards: _Shards, start: int, entry: _Entry) -> npt.NDArray[Any]:
    raw = np.empty(math.prod(entry.shape) * item_size(entry.stored), np.uint8)
    shards.read_into(raw, start)
    values = stored_array(raw, entry.stored, entry.shape)
    if entry.stored == entry.dtype:
        return values
    if entry.stored == "float16":
        return values.astype(entry.dtype)
    return (values.astype(np.float64) * entry.scale + entry.least).astype(entry.dtype)


def _graph_uses(topology: Any, arrays: dict[str, StoredArray]) -> dict[str, Use]:
    """The uses that a graph model's nodes tell, by the arrays' names."""
    nodes = topology.get("node") if isinstance(topology, dict) else None
    found: dict[str, Use] = {}
    for node in nodes if isinstance(nodes, list) else []:
        op, inputs = (node.get("op"), node.get("input")) if isinstance(node, dict) else (None, None)
        if not isinstance(op, str) or not isinstance(inputs, list) or len(inputs) < 2 or not isinstance(inputs[1], str):
            continue
        key = inputs[1].partition(":")[0]
        array = arrays.get(key)
        if array is None:
            continue
        if op in _CONVS and len(array.shape) == 4:
            found[key] = _kernel(op, array.shape)
        elif op in _PRODUCTS and len(array.shape) == 2:
            found[key] = Use(array.shape, "oi" if _is_set(node.get("attr"), "transpose_b") else "io", "dense")
    return found


def _kernel(op: str, shape: tuple[int, ...]) -> Use:
    if "Depthwise" in op:
        return Use((*shape[:2], 1, shape[2] * shape[3]), "hwio", "depthwise")
    return Use(shape, _CONVS[op], "conv")


def _is_set(attributes: Any, key: str) -> bool:
    value = attributes.get(key) if isinstance(attributes, dict) else None
    return isinstance(value, dict) and value.get("b") is True


def _with_use(array: WeightArray, stored: StoredArray, uses: dict[str, Use]) -> WeightArray:
    use = uses.get(array.name)
    if use is None:
        return array
    read: Callable[[], npt.NDArray[Any]] = reshaped(stored.read, use.shape)
    return WeightArray(array.name, use.shape, stored.dtype, use.axes, use.operator, read)
