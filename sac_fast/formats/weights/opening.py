"""Open a file of weights, whatever its format."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import BinaryIO

from ...io.files import StrPath
from ..identify import identify_open, open_model_file
from ..limits import Limits, refuse
from ..recognised import refuse_format
from .arrays import Graph, OpenedWeights, WeightArray
from .claims import read_claims
from .npz_arrays import npz_arrays
from .onnx_arrays import onnx_arrays
from .safetensors_arrays import safetensors_arrays
from .sharded import sharded_arrays
from .state_dict import named_arrays
from .tfjs_arrays import tfjs_arrays
from .tflite_arrays import tflite_arrays
from .torch_arrays import pickle_arrays, torch_arrays

_Read = tuple[tuple[WeightArray, ...], dict[str, str], Graph | None]
# What a folder's weights are called, an index before its parts.
_USUAL = (
    *("model.safetensors.index.json", "pytorch_model.bin.index.json", "model.safetensors", "pytorch_model.bin"),
    *("diffusion_pytorch_model.safetensors", "adapter_model.safetensors", "model.json", "model.onnx"),
)


def open_weights(path: StrPath, *, limits: Limits | None = None) -> OpenedWeights:
    """Open a file of weights as named arrays, with the order of their axes and the operator that uses them.

    Nothing that the file names is run, and no module is built. Arrays are read from the file one by one, when they are
    asked for.

    Args:
        path: safetensors, a checkpoint of ``torch.save`` (nested mappings too), a TorchScript archive, ONNX, Keras
            (``.h5``, ``.keras``), ``model.json`` of TensorFlow.js, TFLite, ``.npz``, a pickle of NumPy arrays (as data:
            nothing of it is run), an index of several files
            (``model.safetensors.index.json``), or a folder that holds one of them by its usual name.
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
    if os.path.isdir(path):
        path = _file_in(Path(path), name)
        name = repr(os.fspath(path))
    with contextlib.ExitStack() as stack:
        handle = stack.enter_context(open_model_file(path, limits))
        format = identify_open(handle, name, limits)
        arrays, metadata, graph = _read(format, handle, Path(path), name, limits, stack)
        return OpenedWeights(arrays, format, read_claims(Path(path), metadata), graph, stack.pop_all())
    raise AssertionError("nothing suppresses an exception here")


def _read(
    format: str, handle: BinaryIO, path: Path, name: str, limits: Limits, resources: contextlib.ExitStack
) -> _Read:
    if format == "safetensors":
        stored, metadata = safetensors_arrays(handle, name, limits)
        return named_arrays(stored), metadata, None
    if format == "onnx":
        return onnx_arrays(handle, path, name, limits, resources)
    if format == "tflite":
        return tflite_arrays(handle, name, limits)
    if format == "tfjs":
        return tfjs_arrays(handle, path, name, limits, resources), {}, None
    if format in ("torch", "torch-legacy", "torchscript"):
        return named_arrays(torch_arrays(handle, name, limits)), {}, None
    if format == "pickle":
        return named_arrays(pickle_arrays(handle, name, limits)), {}, None
    if format == "sharded":
        return named_arrays(sharded_arrays(handle, path, name, limits, resources)), {}, None
    if format in ("hdf5", "keras", "keras-h5"):
        from .hdf5_arrays import hdf5_arrays  # h5py is slow to import

        archive = format == "keras"
        return named_arrays(hdf5_arrays(handle, name, limits, resources, archive=archive), keras=True), {}, None
    if format == "npz":
        return named_arrays(npz_arrays(handle, name, limits, resources)), {}, None
    refuse_format(format, name, "a file of weights")


def _file_in(folder: Path, name: str) -> Path:
    """The file of weights in a folder: an index, or a file by one of the usual names."""
    if (folder / "saved_model.pb").exists():
        refuse_format("savedmodel", name, "a file of weights")
    if (folder / "Manifest.json").exists() and folder.suffix == ".mlpackage":
        refuse_format("coreml", name, "a file of weights")
    for usual in _USUAL:
        if (folder / usual).exists():
            return folder / usual
    refuse("not-a-regular-file", f"{name} must hold one of {', '.join(_USUAL)}, got a folder without them")
