"""What a file is, by its content."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

from ..errors import FileFormatError, ModelRefusedError
from ..io.container import METADATA_KEY
from ..io.files import StrPath, cannot_read, check_holes, file_size, is_inside, open_regular, path_of
from . import magic
from .csv_table import looks_like_csv
from .hdf5_open import find_superblock
from .limits import Limits, refuse
from .onnx_wire import looks_like_onnx
from .recognised import not_read_kind
from .safetensors import looks_like_safetensors, read_header
from .torch_file import zip_kind
from .torch_pickle import looks_like_pickle
from .zip_layout import looks_like_zip, read_entries


def identify(path: StrPath, *, limits: Limits | None = None) -> str:
    """Identify a model file's format by its content, never by its name.

    Args:
        path: the file.
        limits: on what is read of it.

    Returns:
        ``"safetensors"``, ``"torch"``, ``"torch-legacy"``, ``"onnx"``, ``"npy"``, ``"npz"``, ``"csv"``, ``"hdf5"``,
        ``"fingerprint"``, ``"probes"``, ``"inputs"`` or ``"pack"`` (containers of sac_fast); of weights alone
        ``"sharded"`` (an index), ``"torchscript"``, ``"keras"`` (an archive), ``"keras-h5"``, ``"tfjs"`` or
        ``"tflite"``; of what is not read ``"pickle"``, ``"pt2"``, ``"gguf"``, ``"ggml"``, ``"coreml"``, ``"paddle"``,
        ``"savedmodel"``, ``"openvino"``, ``"ncnn"``, ``"git-lfs"`` (a pointer), ``"zip"`` or ``"unknown"``.

    Raises:
        ModelRefusedError: no regular file, an empty one, or one whose directory or header is damaged.

    Example::

        >>> import numpy
        >>> numpy.save("outputs.npy", numpy.ones((20, 10)))
        >>> identify("outputs.npy")
        'npy'
    """
    limits = limits or Limits()
    with open_model_file(path, limits) as handle:
        return identify_open(handle, repr(os.fspath(path)), limits)


def identify_open(handle: BinaryIO, name: str, limits: Limits) -> str:
    """`identify` of an open file; left at an undefined place."""
    handle.seek(0)
    head = handle.read(4096)
    if head.startswith(magic.HDF5):
        return _hdf5_kind(handle)
    if head.startswith(magic.NPY):
        return "npy"
    if magic.TORCH_LEGACY.match(head):
        return "torch-legacy"
    if looks_like_zip(head):
        return zip_kind(read_entries(handle, name, limits))
    if looks_like_safetensors(head[:9], file_size(handle)):
        return _container_kind(read_header(handle, name, limits).metadata) or "safetensors"
    if looks_like_pickle(head):
        return "pickle"
    if head[4:8] == magic.TFLITE:
        return "tflite"
    if looks_like_onnx(handle):
        return "onnx"
    if find_superblock(handle) is not None:  # after other bytes
        return _hdf5_kind(handle)
    if found := not_read_kind(handle, head) or _json_kind(handle, head, limits):
        return found
    return "csv" if looks_like_csv(handle) else "unknown"


def _hdf5_kind(handle: BinaryIO) -> str:
    from .keras_marks import is_keras_hdf5  # h5py is slow to import

    return "keras-h5" if is_keras_hdf5(handle) else "hdf5"


def _json_kind(handle: BinaryIO, head: bytes, limits: Limits) -> str | None:
    """What a JSON file describes: the parts of a checkpoint, or a model of TensorFlow.js."""
    if not head.lstrip().startswith((b"{", b"[")):
        return None
    handle.seek(0)
    text = handle.read(limits.max_header_bytes)
    if text.lstrip().startswith(b"["):  # a manifest alone
        return "tfjs" if b'"paths"' in text and b'"weights"' in text else None
    found = {"sharded": b'"weight_map"', "tfjs": b'"weightsManifest"'}
    return next((kind for kind, key in found.items() if key in text), None)


def _container_kind(metadata: dict[str, str]) -> str | None:
    """What a safetensors file is that is a container of sac_fast; None: it is none."""
    # As `save_container` writes it, before anything that a user can name; the container's own reader checks it.
    start = metadata.get(METADATA_KEY, "")[:200]
    return next((kind for kind in ("fingerprint", "probes", "inputs", "pack") if f'"kind":"{kind}"' in start), None)


def open_model_file(path: StrPath, limits: Limits, *, root: Path | None = None) -> BinaryIO:
    """Open a regular file for reading, without waiting for a pipe, and check its size.

    Args:
        path: the file.
        limits: on the file's size.
        root: a folder that the file must lie in once links are followed; None: anywhere.

    Returns:
        The file, opened for reading bytes.

    Raises:
        ModelRefusedError: missing, unreadable, no regular file, empty, too large, or a link out of ``root``.
    """
    name = repr(os.fspath(path))
    try:
        if root is not None:
            # Nothing outside is opened as a rule, and what was opened is looked at again: links can change in between.
            _check_inside(os.path.realpath(path, strict=True), root, name)
        handle = open_regular(path)
    except ModelRefusedError:
        raise
    except (OSError, ValueError) as error:
        found = error if isinstance(error, FileFormatError) else cannot_read(path, error)
        refuse(found.reason or "missing", str(found), error)
    try:
        if root is not None:
            _check_inside(path_of(handle.fileno(), path), root, name)
        limits.check_file(name, file_size(handle))
        try:
            check_holes(name, handle)
        except FileFormatError as error:
            refuse("expanded", str(error), error)
    except BaseException:
        handle.close()
        raise
    return handle


def open_part(place: Path, limits: Limits, root: Path | None, reason: str, message: str) -> BinaryIO:
    """As `open_model_file`, of a file that a model needs beside its own.

    The model's own file is there: where this one is missing, the model is at fault, not the folder that it lies in.

    Args:
        place, limits, root: see `open_model_file`.
        reason, message: of the refusal where the file is missing.
    """
    try:
        return open_model_file(place, limits, root=root)
    except ModelRefusedError as error:
        if error.reason != "missing":
            raise
        refuse(reason, message, error)


def _check_inside(found: str, root: Path, name: str) -> None:
    if not is_inside(found, root):
        refuse("symlink", f"{name} must lie in {os.fspath(root)!r}, got a link to a file outside of it")
