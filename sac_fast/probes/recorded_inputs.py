"""RecordedInputs: what models that take no images are asked with, as arrays of any shape named after their inputs."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import FileFormatError, ProbeError
from ..formats.identify import identify_open, open_model_file
from ..formats.limits import Limits
from ..formats.weights.npz_arrays import npz_arrays
from ..io.container import load_container, save_container
from ..io.files import StrPath
from ..io.hashing import content_hash, sha256_stream
from .arguments import check_integer
from .arrays import to_labels
from .probe_set import ProbeSet
from .provenance import json_copy, step_versions

#: Name of the array of class numbers, which is given to no model.
LABELS = "labels"
_KIND = "inputs"
_MAX_INPUTS = 64


@dataclass(frozen=True, eq=False)
class RecordedInputs:
    """Inputs of models that take no images: for each input an array, whose row i belongs to probe i.

    They are given to a model as they are. Where there is one array its name says nothing; several go to the inputs of
    their names (of an ONNX graph, or parameters of ``forward``). A row may be a whole input of its own, as the state
    of a recurrent network is: a graph that takes (2, ?, 128) is given (n, 2, 1, 128), one probe at a time.

    Attributes:
        arrays: real numbers ``(n, …)`` by name, n the same for all, read-only.
        labels: int64 ``(n,)``, or None.
        provenance: JSON values: ``kind`` (``"inputs"``), ``source``, ``versions``.

    Raises:
        ProbeError: no array, other numbers of rows, or values that are no finite real numbers.

    Example::

        >>> import numpy as np
        >>> np.savez("sound.npz", sound=np.random.rand(20, 512).astype("float32"))
        >>> probes = sac_fast.RecordedInputs.from_npz("sound.npz")
        >>> len(probes), probes.arrays["sound"].shape
        (20, (20, 512))
        >>> sac_fast.fingerprint(lambda sound: sound[:, :10], probes, name="first ten").outputs.shape
        torch.Size([20, 10])
    """

    arrays: Mapping[str, npt.NDArray[Any]]
    labels: npt.NDArray[np.int64] | None = None
    provenance: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        arrays = {name: _checked(name, array) for name, array in self.arrays.items()}
        if not 1 <= len(arrays) <= _MAX_INPUTS:
            raise ProbeError(f"inputs must be 1 to {_MAX_INPUTS} arrays, got {len(arrays)}")
        rows = {name: len(array) for name, array in arrays.items()}
        if len(set(rows.values())) > 1:
            wanted = "inputs must have a row for each probe, as many in all arrays (fixed values go to --input)"
            raise ProbeError(f"{wanted}, got {rows}")
        labels = None if self.labels is None else to_labels(self.labels, next(iter(rows.values())), LABELS)
        about = {"kind": _KIND, "source": {"type": "arrays"}, "versions": step_versions(), **self.provenance}
        object.__setattr__(self, "arrays", MappingProxyType(arrays))
        object.__setattr__(self, "labels", labels)
        object.__setattr__(self, "provenance", json_copy(about, ProbeError))

    @cached_property
    def content_hash(self) -> str:
        """``"sha256:..."`` of names and values, and of the labels, as recorded in fingerprints."""
        return content_hash(self._stored)

    @property
    def _stored(self) -> dict[str, Any]:
        """The arrays as they lie in a file."""
        inputs = {f"input.{name}": array for name, array in self.arrays.items()}
        return inputs if self.labels is None else {**inputs, LABELS: self.labels}

    def __len__(self) -> int:
        return len(next(iter(self.arrays.values())))

    def shapes(self) -> dict[str, Any]:
        """Dtype and shape of each input, as fingerprints record them."""
        arrays = self.arrays.items()
        return {"inputs": {name: {"dtype": str(array.dtype), "shape": list(array.shape)} for name, array in arrays}}

    def __repr__(self) -> str:
        shapes = ", ".join(f"{name} {array.dtype} {array.shape}" for name, array in self.arrays.items())
        return f"RecordedInputs({shapes}, {self.content_hash[:19]}…)"

    @classmethod
    def from_npz(cls, path: StrPath, *, limit: int | None = None) -> RecordedInputs:
        """Inputs from an ``.npz`` file, as ``np.savez(path, sound=…, rate=…)`` writes it.

        Args:
            path: the file; an array ``labels`` (n,) of whole numbers holds the classes.
            limit: largest number of probes, the first ones.

        Returns:
            The inputs.

        Raises:
            FileFormatError: not a sound ``.npz`` file.
            ProbeError: see the class.
        """
        limits, name = Limits(), repr(os.fspath(path))
        with contextlib.ExitStack() as stack:
            handle = stack.enter_context(open_model_file(path, limits))
            if (format := identify_open(handle, name, limits)) != "npz":
                raise FileFormatError(f"{name} must be an .npz file of arrays, got {format}")
            handle.seek(0)
            digest = sha256_stream(handle)
            found = {key: array.read() for key, array in npz_arrays(handle, name, limits, stack).items()}
        if limit is not None:
            limit = check_integer("limit", limit, 1)
            found = {key: array[:limit] if array.ndim else array for key, array in found.items()}
        labels = found.pop(LABELS, None)
        source = {"type": "npz", "name": os.path.basename(os.fspath(path)), "sha256": digest}
        return cls(found, labels, {"source": source})

    def save(self, path: StrPath) -> None:
        """Write arrays, labels, provenance and hashes to one safetensors file, atomically.

        Raises:
            OSError: the folder does not exist or cannot be written to.
        """
        about = {"content_hash": self.content_hash, "provenance": self.provenance}
        save_container(path, _KIND, self._stored, about)

    @classmethod
    def load(cls, path: StrPath) -> RecordedInputs:
        """Read a file written by `save` and check all hashes.

        Raises:
            FileFormatError: damaged, truncated, or not a file of inputs.
        """
        stored, about = load_container(path, _KIND)
        labels = stored.pop(LABELS, None)
        try:
            if not isinstance(about["provenance"], dict) or not all(key.startswith("input.") for key in stored):
                raise ValueError("other entries")
            inputs = cls({key.removeprefix("input."): v for key, v in stored.items()}, labels, about["provenance"])
        except (KeyError, ValueError, TypeError) as error:
            raise FileFormatError(f"{str(path)!r} must hold inputs of models, got {error}") from error
        if inputs.content_hash != about.get("content_hash"):
            wanted = about.get("content_hash")
            raise FileFormatError(f"{str(path)!r} must hold inputs with the hash {wanted}, got {inputs.content_hash}")
        return inputs


#: What models are asked with.
Probes = ProbeSet | RecordedInputs


def load_probes(path: StrPath) -> Probes:
    """A file of images or of inputs that was saved, or inputs in an ``.npz`` file.

    Raises:
        FileFormatError: none of them.
        ProbeError: arrays that are no inputs.
    """
    limits = Limits()
    with open_model_file(path, limits) as handle:
        format = identify_open(handle, repr(os.fspath(path)), limits)
    if format == "npz":
        return RecordedInputs.from_npz(path)
    if format not in (_KIND, "probes", "safetensors"):
        wanted = "a probe file of sac_fast (a safetensors file), or an .npz file of inputs"
        raise FileFormatError(f"{str(path)!r} must be {wanted}, got another format ({format})")
    return RecordedInputs.load(path) if format == _KIND else ProbeSet.load(path)


def _checked(name: str, given: Any) -> npt.NDArray[Any]:
    """A read-only copy in C order and of the machine's byte order."""
    if not isinstance(name, str) or not name:
        raise ProbeError(f"inputs must have names, got {name!r}")
    array: npt.NDArray[Any] = np.asarray(given)
    if array.dtype.kind not in "biuf" or array.dtype.itemsize > 8:
        raise ProbeError(f"input {name!r} must hold real numbers, got dtype {array.dtype}")
    if not array.ndim or 0 in array.shape:
        wanted = f"input {name!r} must have a row for each probe (fixed values go to --input)"
        raise ProbeError(f"{wanted}, got shape {array.shape}")
    array = np.array(array, array.dtype.newbyteorder("="), order="C")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        row = int(np.argmin(np.isfinite(array.reshape(len(array), -1)).all(1)))
        raise ProbeError(f"input {name!r} must be finite, got NaN or Inf in row {row}")
    array.flags.writeable = False
    return array
