"""Arrays of ONNX files with the operators that use them; no runtime and no library of ONNX is needed."""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from ..limits import Limits
from .arrays import Graph, WeightArray
from .flat_graph import FINAL, WEIGHTED, FlatGraph, final_nodes
from .names import uses_of
from .onnx_flat import Flattener
from .onnx_messages import OnnxParser
from .onnx_tensors import TensorReader
from .onnx_uses import Found, Scale, Use, UseFinder, scale_shape
from .ranges import FileRanges
from .state_dict import StoredArray, reshaped

# Sizes, indices and texts: what graphs compute shapes from.
_NO_WEIGHTS = {"int64", "int32", "bool"}


def onnx_arrays(
    handle: BinaryIO, path: Path, name: str, limits: Limits, resources: contextlib.ExitStack
) -> tuple[tuple[WeightArray, ...], dict[str, str], Graph]:
    """The arrays of an ONNX file, of its inner graphs too.

    Args:
        handle: the open file; it must stay open while arrays are read.
        path: where it is; external data lie in the same folder.
        name: what messages call it.
        limits: on fields, number and sizes.
        resources: closes the files of external data.

    Returns:
        Arrays in the file's order, whole numbers that no weighted operator takes left out; texts about the model; its
        operators.

    Raises:
        ModelRefusedError: anything that contradicts the format or exceeds a limit.
    """
    ranges = FileRanges(handle, name)
    model = OnnxParser(ranges, limits).model()
    flat = Flattener(TensorReader(ranges, path, limits, resources), name).flatten(model.graph)
    found = UseFinder(flat).find()
    _name_cells(flat, found)
    weighted = {node for used in found.values() if used.uses[0].operator in WEIGHTED for node in used.nodes}
    final = final_nodes(flat, weighted)
    arrays: list[WeightArray] = []
    for key, stored in flat.arrays.items():
        used = found.get(key, Found([Use("", "unknown" if stored.shape else "constant")]))
        if used.uses[0].operator in ("unknown", "constant") and (stored.dtype in _NO_WEIGHTS or not stored.shape):
            continue
        output = bool(final & set(used.nodes)) if used.uses[0].operator in FINAL else None
        read = _dequantised(flat, stored, used.scale) if used.scale is not None else stored.read
        arrays += [_array(key, stored, use, read, output) for use in used.uses]
    return tuple(arrays), model.metadata, flat.graph()


def _array(
    name: str, stored: StoredArray, use: Use, read: Callable[[], npt.NDArray[Any]], output: bool | None
) -> WeightArray:
    shape = stored.shape if use.shape is None else use.shape
    if use.part is not None:
        name, read = f"{name}[{use.part}]", functools.partial(_part, read, use.part)
    return WeightArray(name, shape, stored.dtype, use.axes, use.operator, reshaped(read, shape), use.gates, output)


def _part(read: Callable[[], npt.NDArray[Any]], number: int) -> npt.NDArray[Any]:
    return np.asarray(read()[number])


def _name_cells(flat: FlatGraph, found: dict[str, Found]) -> None:
    """Recurrent cells that the exporter wrote as dense layers are known by the names that PyTorch gives."""
    uses = uses_of({name: array.shape for name, array in flat.arrays.items()})
    for name, used in found.items():
        use = uses[name]
        if use.gates and used.uses[0].operator == "dense" and used.uses[0].axes == "oi":
            used.uses = [Use(use.axes, use.operator, use.gates, use.shape)]


def _dequantised(flat: FlatGraph, stored: StoredArray, scale: Scale) -> Callable[[], npt.NDArray[np.float32]]:
    def values(name: str) -> npt.NDArray[np.float32] | None:
        if not name:
            return None
        array = flat.arrays[name]
        found = array.read().astype(np.float32)
        if scale.block:
            repeated = np.repeat(found, scale.block, axis=scale.axes[0])
            return repeated.take(range(stored.shape[scale.axes[0]]), axis=scale.axes[0])
        return found.reshape(scale_shape(math.prod(array.shape), scale.axes, stored.shape) or array.shape)

    def read() -> npt.NDArray[np.float32]:
        result = stored.read().astype(np.float32)
        for name, apply in ((scale.zero, np.subtract), (scale.scale, np.multiply)):
            found = values(name)
            if found is not None:
                apply(result, found, out=result)
        return result

    return read
