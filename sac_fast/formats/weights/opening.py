"""Open a file of weights, whatever its format."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any, BinaryIO

from ...io.files import StrPath
from ..identify import identify_open, open_model_file
from ..limits import Limits, refuse
from .arrays import Graph, OpenedWeights, WeightArray
from .onnx_arrays import onnx_arrays
from .safetensors_arrays import safetensors_arrays
from .state_dict import named_arrays
from .torch_arrays import torch_arrays

_Read = tuple[tuple[WeightArray, ...], dict[str, Any], Graph | None]


def open_weights(path: StrPath, *, limits: Limits | None = None) -> OpenedWeights:
    """Open a file of weights as named arrays, with the order of their axes and the operator that uses them.

    Nothing that the file names is run, and no module is built. Arrays are read from the file one by one, when they are
    asked for.

    Args:
        path: safetensors, a checkpoint of ``torch.save`` (nested mappings too), a TorchScript archive or ONNX.
        limits: on sizes and counts.

    Returns:
        The arrays; a context manager that closes the file.

    Raises:
        ModelRefusedError: a format that holds no weights or is not read, a damaged file, or one above a limit.

    Example::

        >>> torch.save({"conv": {"weight": torch.ones(8, 3, 3, 3)}}, "mine.pt")
        >>> with sac_fast.open_weights("mine.pt") as opened:
        ...     array = opened.arrays[0]
        ...     array.name, array.axes, array.operator, float(array.read().sum())
        ('conv.weight', 'oihw', 'conv', 216.0)
    """
    limits = limits or Limits()
    name = repr(os.fspath(path))
    with contextlib.ExitStack() as stack:
        handle = stack.enter_context(open_model_file(path, limits))
        format = identify_open(handle, name, limits)
        arrays, claims, graph = _read(format, handle, Path(path), name, limits, stack)
        return OpenedWeights(arrays, format, claims, graph, stack.pop_all())
    raise AssertionError("nothing suppresses an exception here")


def _read(
    format: str, handle: BinaryIO, path: Path, name: str, limits: Limits, resources: contextlib.ExitStack
) -> _Read:
    if format == "safetensors":
        stored, metadata = safetensors_arrays(handle, name, limits)
        return named_arrays(stored), {"metadata": metadata}, None
    if format in ("torch", "torch-legacy", "torchscript"):
        return named_arrays(torch_arrays(handle, name, limits)), {}, None
    if format == "onnx":
        arrays, metadata, graph = onnx_arrays(handle, path, name, limits, resources)
        return arrays, {"metadata": metadata}, graph
    refuse("unknown-format", f"{name} must be a file of weights, got {format}")
