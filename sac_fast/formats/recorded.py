"""Recorded outputs: what stands for a model that was run elsewhere."""

from __future__ import annotations

import os
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

from ..errors import FileFormatError
from ..io.container import read_container
from ..io.files import file_size
from ..io.hashing import is_hash
from ..io.lazy import LazyModule
from ..io.schema import check_depth, check_types
from .csv_table import read_csv
from .limits import MAX_FINGERPRINT_HEADER, Limits, refuse, refuse_errors
from .npy import choose_array, read_npy, taken_as_outputs
from .recognised import refuse_format
from .safetensors import read_header
from .table_format import TableFormat
from .zip_layout import read_entries

if TYPE_CHECKING:
    import torch
else:  # what runs no network starts without its two seconds
    torch = LazyModule("torch")

_OPTIONAL_TEXT = (str, type(None))
_SCHEMA = {
    **dict.fromkeys(("name", "probe_hash", "preprocessing_hash", "created"), str),
    **dict.fromkeys(("model_hash", "dtype", "kind", "output_form"), _OPTIONAL_TEXT),
    **dict.fromkeys(("preprocessing", "versions", "service"), dict),
    "probes": {"count": int, "size": [int]},
    "output": (int, *_OPTIONAL_TEXT),
    "output_form_declared": bool,
    "notes": [str],
    "accuracy": (int, float),
}


@dataclass(frozen=True)
class RecordedOutputs:
    """What a file of recorded outputs holds.

    Attributes:
        outputs: float32 or float64 ``(n, k)``; a vector ``(n,)``, of class numbers for example, is one column.
        probe_hash: of the probes, ``"sha256:…"``; None where the file states none.
        output_form: as declared when the outputs were recorded; None where nothing was.
        notes: what was taken for what, where the file leaves a choice.
    """

    outputs: torch.Tensor
    probe_hash: str | None = None
    output_form: str | None = None
    notes: tuple[str, ...] = ()


def read_recorded(
    format: str, handle: BinaryIO, name: str, limits: Limits, key: str | None, table: TableFormat | None = None
) -> RecordedOutputs:
    """Read recorded outputs of any format but safetensors.

    Args:
        format: of `identify`.
        handle: the open file.
        name: what messages call it.
        limits: on sizes.
        key: which array, where a file holds several.
        table: what the user says of a text table.

    Returns:
        The outputs, with what the file states of them.

    Raises:
        ModelRefusedError: no recorded outputs, or not to be read safely.
    """
    handle.seek(0)
    if format == "npy":
        outputs = read_npy(handle, name, limits, file_size(handle))
        stem = os.path.basename(name.strip("'\"")).removesuffix(".npy")
        taken_as_outputs(stem, key, outputs.shape, name)
        return RecordedOutputs(outputs)
    if format == "npz":
        found, outputs = _read_npz(handle, name, limits, key)
        return _named(found, key, outputs, name)
    if format == "csv":
        outputs, note = read_csv(handle, name, limits, table)
        return RecordedOutputs(outputs, notes=(note,))
    if format == "hdf5":
        from .hdf5 import read_hdf5_outputs  # h5py is slow to import

        found, outputs = read_hdf5_outputs(handle, name, limits, key)
        return _named(found, key, outputs, name)
    if format == "fingerprint":
        return read_fingerprint(handle, name, limits)
    if format in ("probes", "inputs", "pack"):
        got = "a pack of many models' outputs" if format == "pack" else "a probe set"
        refuse("not-a-model", f"{name} must hold a model, got {got}")
    wanted = "safetensors, a state dict of torch.save, ONNX, .npy, .npz, CSV, HDF5 or a fingerprint"
    refuse_format(format, name, wanted)


def _named(found: str, key: str | None, outputs: torch.Tensor, name: str) -> RecordedOutputs:
    """Outputs of an array with a name, which is said unless it is that of outputs."""
    note = taken_as_outputs(found, key, outputs.shape, name)
    return RecordedOutputs(outputs, notes=() if found == "outputs" else (note,))


def _read_npz(handle: BinaryIO, name: str, limits: Limits, key: str | None) -> tuple[str, torch.Tensor]:
    entries = read_entries(handle, name, limits)
    key = choose_array([entry.removesuffix(".npy") for entry in entries], key, name)
    entry = entries.get(f"{key}.npy")
    if entry is None:
        refuse("which-array", f"{name} must hold the array {key!r}, got none")
    file_bytes = file_size(handle)
    with (
        refuse_errors(f"{name} must be a sound .npz file"),
        # The directory is checked by now; the library inflates piece by piece and compares the checksum.
        zipfile.ZipFile(handle) as archive,
        archive.open(entry.name) as stream,
    ):
        outputs = read_npy(stream, name, limits, entry.size, key, file_bytes=file_bytes)  # type: ignore[arg-type]
        if stream.read(1):
            refuse("malformed", f"{name} must hold as many bytes at {entry.name!r} as it says, got more")
        return key, outputs


def read_fingerprint(handle: BinaryIO, name: str, limits: Limits) -> RecordedOutputs:
    """The outputs of a fingerprint file, its hash checked, the hash of the probes, and the form if it was declared.

    Raises:
        ModelRefusedError: damaged, or not such a file.
    """
    header = read_header(handle, name, limits)
    if header.data_start > MAX_FINGERPRINT_HEADER:
        wanted = f"a fingerprint with a header of at most {MAX_FINGERPRINT_HEADER:,} bytes"
        refuse("too-large", f"{name} must be {wanted}, got more")
    if set(header.tensors) != {"outputs"}:
        refuse("malformed", f"{name} must be a fingerprint with one array outputs, got {sorted(header.tensors)[:5]}")
    handle.seek(0)
    try:
        arrays, metadata = read_container(handle, name, "fingerprint")
    except FileFormatError as error:
        refuse("damaged", str(error), error)
    if set(arrays) != {"outputs"}:
        refuse("malformed", f"{name} must stay as it is while it is read, got other arrays than before")
    outputs = torch.from_numpy(arrays["outputs"])
    if outputs.dtype not in (torch.float32, torch.float64) or outputs.ndim != 2 or 0 in outputs.shape:
        refuse("wrong-shape", f"{name} must hold float outputs (n, k), got {outputs.dtype} {tuple(outputs.shape)}")
    provenance = metadata.get("provenance")
    with refuse_errors(f"{name} must be a fingerprint"):
        check_provenance(provenance)
    probe_hash = provenance.get("probe_hash") if isinstance(provenance, dict) else None
    if not is_hash(probe_hash):
        refuse("malformed", f'{name} must state its probes as "sha256:" and 64 digits, got {str(probe_hash)[:80]!r}')
    assert isinstance(provenance, dict)  # it has a hash
    form = provenance.get("output_form") if provenance.get("output_form_declared", True) else None
    if not (form is None or isinstance(form, str)):
        refuse("malformed", f"{name} must state its output form by name, got {str(form)[:80]!r}")
    return RecordedOutputs(outputs, probe_hash, form)


def check_provenance(provenance: Any) -> None:
    """Check the types in the provenance of a fingerprint from a file.

    Raises:
        ValueError: another type, or nested too deeply.
    """
    check_depth(provenance, "provenance")
    check_types(provenance, _SCHEMA, "provenance")
