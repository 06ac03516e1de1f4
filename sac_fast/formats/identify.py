"""What a file is, by its content."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

from ..errors import ModelRefusedError
from ..io.files import StrPath
from .limits import Limits, refuse
from .npy import NPY_MAGIC
from .safetensors import looks_like_safetensors, read_header
from .torch_file import LEGACY_MAGIC, zip_kind
from .zip_layout import looks_like_zip, read_entries

HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
_CONTAINER_KEY = "sac_fast"


def identify(path: StrPath, *, limits: Limits | None = None) -> str:
    """Tell a model file's format by its content, never by its name.

    Args:
        path: the file.
        limits: on what is read of it.

    Returns:
        ``"safetensors"``, ``"torch"``, ``"torch-legacy"``, ``"onnx"``, ``"npy"``, ``"npz"``, ``"csv"``, ``"hdf5"``,
        ``"fingerprint"`` or ``"probes"`` (containers of sac_fast), and of what is refused ``"pickle"``,
        ``"torchscript"``, ``"pt2"``, ``"zip"`` or ``"unknown"``.

    Raises:
        ModelRefusedError: no regular file, an empty one, or one whose directory or header is damaged.
    """
    limits = limits or Limits()
    with open_model_file(path, limits) as handle:
        return identify_open(handle, repr(os.fspath(path)), limits)


def identify_open(handle: BinaryIO, name: str, limits: Limits) -> str:
    """`identify` of an open file; left at an undefined place."""
    from .csv_table import looks_like_csv
    from .onnx_wire import looks_like_onnx

    size = os.fstat(handle.fileno()).st_size
    handle.seek(0)
    head = handle.read(4096)
    if head.startswith(HDF5_MAGIC):
        return "hdf5"
    if head.startswith(NPY_MAGIC):
        return "npy"
    if looks_like_zip(head):
        return zip_kind(read_entries(handle, name, limits))
    if head.startswith(LEGACY_MAGIC):
        return "torch-legacy"
    if looks_like_safetensors(head[:9], size):
        metadata = read_header(handle, name, limits).metadata
        return container_kind(metadata) or "safetensors"
    # Protocols 2 and later say so in their first byte; a pickle ends with its full stop.
    if head[:1] == b"\x80" and len(head) > 1 and head[1] <= 5:
        return "pickle"
    if looks_like_onnx(handle):
        return "onnx"
    if looks_like_csv(head):
        return "csv"
    return "unknown"


def container_kind(metadata: dict[str, str]) -> str | None:
    """``"fingerprint"`` or ``"probes"`` where a safetensors file is a container of sac_fast."""
    text = metadata.get(_CONTAINER_KEY, "")
    for kind in ("fingerprint", "probes"):
        # As `save_container` writes it, before anything that a user can name; the container's own reader checks it.
        if f'"kind":"{kind}"' in text[:200]:
            return kind
    return None


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
        # O_NONBLOCK: opening a pipe that nobody writes to would otherwise wait for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except ModelRefusedError:
        raise
    except (OSError, ValueError) as error:  # ValueError: a NUL character in the name
        code = error.errno if isinstance(error, OSError) else None
        # Sockets and devices without a driver cannot even be opened.
        reason = {errno.ELOOP: "symlink-loop", errno.ENXIO: "not-a-regular-file", errno.ENODEV: "not-a-regular-file"}
        said = error.strerror if isinstance(error, OSError) else error
        refuse(reason.get(code or 0, "missing"), f"cannot read {name}: {said}", error)
    try:
        if root is not None:
            _check_inside(_path_of(descriptor, path), root, name)
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            refuse("not-a-regular-file", f"{name} must be a regular file, got a folder, a pipe or a device")
        limits.check_file(name, status.st_size)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def _check_inside(found: str, root: Path, name: str) -> None:
    if not Path(found).is_relative_to(os.path.realpath(root)):
        refuse("symlink", f"{name} must lie in {os.fspath(root)!r}, got a link to a file outside of it")


def _path_of(descriptor: int, path: StrPath) -> str:
    """Where an open file lies; "" where that cannot be told."""
    with contextlib.suppress(OSError):
        return os.readlink(f"/proc/self/fd/{descriptor}")
    # Without /proc: where the path leads to now, if that is the file that is open.
    with contextlib.suppress(OSError):
        found = os.path.realpath(path, strict=True)
        if os.path.samestat(os.stat(found), os.fstat(descriptor)):
            return found
    return ""
