"""Checkpoints of ``torch.save``: zip archives, and the older stream of pickles."""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, NoReturn

from ..errors import ModelRefusedError
from ..io.files import file_size
from . import magic
from .limits import Limits, refuse, refuse_weights
from .torch_pickle import Storage, looks_like_pickle, read_pickle, refuse_code
from .zip_layout import STORED, ZipEntry, looks_like_zip, read_entries

# Programs, which run code: what they are called, what loads them, and where their weights are then.
_PROGRAMS = {
    "torchscript": ("a TorchScript program", "torch.jit.load", "state_dict()"),
    "pt2": ("an exported PyTorch program (.pt2)", "torch.export.load", "state_dict"),
}


def zip_kind(entries: Mapping[str, ZipEntry]) -> str:
    """What an archive is by its entries: torch, torchscript, pt2, keras, npz or (another) zip."""
    parts = {name: name.split("/") for name in entries}
    inside = {"/".join(part[1:]) for part in parts.values()}
    if {"archive_format", "serialized_exported_program.json"} & (inside | set(entries)) or any(
        name.startswith("models/") and name.endswith(".json") for name in inside
    ):
        return "pt2"
    if "constants.pkl" in inside or any(name.startswith("code/") for name in inside):
        return "torchscript"
    if "data.pkl" in inside:
        return "torch"
    if "config.json" in entries and "model.weights.h5" in entries:
        return "keras"
    if entries and all(name.endswith(".npy") for name in entries):
        return "npz"
    return "zip"


@dataclass(frozen=True)
class Pickled:
    """What a checkpoint's pickle holds, as inert records, and where its storages begin in the file."""

    value: Any
    places: Mapping[str, int]
    big_endian: bool = False


def read_pickled(handle: BinaryIO, name: str, limits: Limits, *, as_data: bool = False) -> Pickled:
    """Read a checkpoint's pickle, and check that every storage of it is there in full; no tensor is read.

    Args:
        handle: the open file.
        name: what messages call it.
        limits: on entries and the pickle.
        as_data: read objects of any class as inert records, those of TorchScript archives too.

    Returns:
        Its inert records.

    Raises:
        ModelRefusedError: no checkpoint, or not a sound one.
    """
    handle.seek(0)
    head = handle.read(magic.TORCH_LEGACY_BYTES)
    if looks_like_zip(head):
        return _read_zip(handle, name, limits, as_data)
    if magic.TORCH_LEGACY.match(head):
        return _read_legacy(handle, name, limits, as_data)
    if looks_like_pickle(head):
        refuse_code(name, "a plain pickle")
    refuse("unknown-format", f"{name} must be a file of weights (safetensors or torch.save), got another format")


def _read_zip(handle: BinaryIO, name: str, limits: Limits, as_data: bool) -> Pickled:
    entries = read_entries(handle, name, limits)
    kind = zip_kind(entries)
    if kind in _PROGRAMS and not (as_data and kind == "torchscript"):
        program, load, weights = _PROGRAMS[kind]
        remedy = f"if you trust it, {load} it and give its {weights} to save_weights"
        refuse(kind, f"{name} must be safetensors or a state dict, got {program}, which runs code; {remedy}")
    used = {entry: found for entry, found in entries.items() if kind != "torchscript" or _is_data(entry)}
    # torch.save never compresses: a compressed entry is a bomb or comes from elsewhere.
    if any(entry.method != STORED for entry in used.values()):
        _refuse_archive(name, "a compressed archive", "compressed")
    if kind not in ("torch", "torchscript"):
        _refuse_archive(name, "another zip archive", "unknown-format")
    roots = {entry.split("/")[0] for entry in entries}
    if len(roots) != 1:
        _refuse_archive(name, f"an archive with {len(roots)} top folders")
    root = roots.pop()
    pickled = used.get(f"{root}/data.pkl")
    if pickled is None:
        _refuse_archive(name, f"an archive without {root}/data.pkl")
    if len({entry.lower() for entry in used}) != len(used):
        # torch's reader takes either for the other, and maybe not the one that is checked here.
        _refuse_archive(name, "two entries whose names differ in case only", "duplicate-keys")
    limits.check_header(name, pickled.stored, "a pickle")
    handle.seek(pickled.data_start)
    value, storages = _read(io.BytesIO(handle.read(pickled.stored)), name, as_data)
    places = {}
    for storage in storages.values():
        record = used.get(f"{root}/data/{storage.key}")
        if record is None:
            refuse_weights(name, f"no record of storage {storage.key!r}", "truncated")
        # torch itself does not compare: it would read past the record's end.
        if record.size != storage.size:
            refuse_weights(name, f"storage {storage.key!r} of {storage.size:,} bytes in a record of {record.size:,}")
        places[storage.key] = record.data_start
    return Pickled(value, places, _is_big_endian(handle, used.get(f"{root}/byteorder")))


def _is_data(entry: str) -> bool:
    """Whether an entry of a TorchScript archive holds data, not code."""
    inside = entry.partition("/")[2]
    return inside in ("data.pkl", "byteorder") or inside.startswith("data/")


def _is_big_endian(handle: BinaryIO, entry: ZipEntry | None) -> bool:
    if entry is None or entry.stored != len(b"big"):
        return False
    handle.seek(entry.data_start)
    return handle.read(entry.stored) == b"big"


def _refuse_archive(name: str, found: str, reason: str = "malformed") -> NoReturn:
    refuse(reason, f"{name} must be what torch.save writes, got {found}")


def _read_legacy(handle: BinaryIO, name: str, limits: Limits, as_data: bool) -> Pickled:
    """Four pickles (magic, version, system, object), one of keys, then each storage as its length and its values."""
    size = file_size(handle)
    handle.seek(0)
    stream = io.BytesIO(handle.read(limits.max_header_bytes))
    for _ in range(3):
        _read(stream, name)
    value, storages = _read(stream, name, as_data)
    keys, _ = _read(stream, name)
    if not isinstance(keys, list) or any(not isinstance(key, str) for key in keys) or sorted(keys) != sorted(storages):
        refuse_weights(name, "other storages than it refers to")
    position = stream.tell()
    places = {}
    for key in keys:
        storage: Storage = storages[key]
        handle.seek(position)
        length = handle.read(8)
        places[key] = position + 8
        position += 8 + storage.size
        if len(length) < 8 or position > size:
            refuse_weights(name, f"its end within storage {key!r}", "truncated")
        if struct.unpack("<q", length)[0] != storage.count:
            refuse_weights(name, f"storage {key!r} of two sizes")
    return Pickled(value, places)


def _read(stream: io.BytesIO, name: str, as_data: bool = False) -> tuple[Any, dict[str, Storage]]:
    start = stream.tell()
    try:
        return read_pickle(stream, name, any_class=as_data)
    except ModelRefusedError as error:
        # The beginning of a long pickle that was cut off at the limit, or of a file that was.
        if error.reason == "malformed" and stream.tell() == len(stream.getbuffer()) > start:
            raise ModelRefusedError(str(error), "truncated") from error
        raise
