"""Untrusted safetensors files, read strictly.

The header is parsed entry by entry, and every byte of the data must belong to exactly one tensor. Tensors are read
straight into their own memory: a mapped file would count in resident memory beside them.

Source: the format as documented at https://huggingface.co/docs/safetensors.
"""

from __future__ import annotations

import functools
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, NoReturn

from ..io.dtypes import STORED_DTYPES
from ..io.files import file_size
from ..io.lazy import LazyModule
from .limits import MAX_DIMENSIONS, MAX_METADATA_ENTRIES, MAX_TENSOR_ENTRY, Limits, refuse

if TYPE_CHECKING:
    import torch
else:  # what runs no network starts without its two seconds
    torch = LazyModule("torch")

_DTYPES = {row.safetensors: row for row in STORED_DTYPES if row.safetensors}
_FIELDS = {"dtype", "shape", "data_offsets"}
#: Of headers that are kept.
_KEPT_BYTES = 1 << 20
_SPACE = " \t\n\r"
_SPACES = re.compile(f"[{_SPACE}]*")
_DECODER = json.JSONDecoder()


@dataclass(frozen=True)
class StoredTensor:
    """One tensor as the header describes it; ``start`` and ``stop`` count from the first byte of the data.

    ``dtype`` is its name in torch.
    """

    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int


@dataclass(frozen=True)
class Header:
    """A checked header: tensors in the file's order, metadata, and where the data begin."""

    tensors: dict[str, StoredTensor]
    metadata: dict[str, str]
    data_start: int


def looks_like_safetensors(head: bytes, size: int) -> bool:
    """Whether the first 9 bytes are a header's length and its brace."""
    return len(head) >= 9 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= max(size, 1 << 40)


def read_header(handle: BinaryIO, name: str, limits: Limits) -> Header:
    """Read and check the header of an open file; nothing of the data is read.

    Args:
        handle: the file.
        name: what messages call it.
        limits: on header, number and sizes of tensors.

    Returns:
        The header, of which every byte of the data is accounted for.

    Raises:
        ModelRefusedError: anything that contradicts the format or exceeds a limit.
    """
    size = file_size(handle)
    handle.seek(0)
    length = int.from_bytes(handle.read(8), "little")
    if size < 10 or length < 2:
        refuse("truncated", f"{name} must be a sound safetensors file of at least 10 bytes, got {size}")
    limits.check_header(name, length, "a header")
    if length > size - 8:
        refuse("truncated", f"{name} must be a sound safetensors file: its header claims {length:,} bytes of {size:,}")
    try:
        text = handle.read(length).decode("utf-8")
    except UnicodeDecodeError as error:
        _wrong(name, "a header that is not UTF-8", cause=error)
    tensors, metadata = (_parse_again if length <= _KEPT_BYTES else _parse)(text, name, limits)
    _check_layout(tensors, size - 8 - length, name)
    return Header(dict(tensors), dict(metadata), 8 + length)  # what is kept is nobody's to change


def _parse(text: str, name: str, limits: Limits) -> tuple[dict[str, StoredTensor], dict[str, str]]:
    return _Parser(text, name, limits).parse()


# A file is identified, looked at and read: the header of the last one is kept.
_parse_again = functools.lru_cache(maxsize=1)(_parse)


def read_tensors(handle: BinaryIO, name: str, header: Header) -> dict[str, torch.Tensor]:
    """Read the tensors that a checked header describes, each into memory of its own."""
    tensors = {}
    for key, stored in header.tensors.items():
        tensors[key] = torch.empty(stored.shape, dtype=getattr(torch, stored.dtype))
        view = tensors[key].reshape(-1).view(torch.uint8).numpy()
        handle.seek(header.data_start + stored.start)
        if handle.readinto(view.data) != view.size:  # type: ignore[attr-defined]
            refuse("truncated", f"{name} must keep its size while it is read, got its end early")
    return tensors


def _check_layout(tensors: Mapping[str, StoredTensor], data_bytes: int, name: str) -> None:
    position = 0
    for key, stored in sorted(tensors.items(), key=lambda item: (item[1].start, item[1].stop)):
        if stored.start < position:
            _wrong(name, f"tensor {key!r} over bytes of another", "overlap")
        if stored.start > position:
            _wrong(name, f"{stored.start - position:,} bytes of no tensor", "gap")
        position = stored.stop
    if position > data_bytes:
        _wrong(name, f"{data_bytes:,} bytes of data where its header says {position:,}", "truncated")
    if position < data_bytes:
        _wrong(name, f"{data_bytes - position:,} bytes after the last tensor", "gap")


class _Parser:
    """The header's JSON, one entry at a time: a hostile one costs no more memory than its own text."""

    def __init__(self, text: str, name: str, limits: Limits) -> None:
        self.text = text
        self.name = name
        self.limits = limits
        self.position = 0
        self.total = 0

    def parse(self) -> tuple[dict[str, StoredTensor], dict[str, str]]:
        tensors: dict[str, StoredTensor] = {}
        metadata: dict[str, str] = {}
        for key in self._keys():
            if key == "__metadata__":
                metadata = self._metadata()
            else:
                tensors[key] = self._tensor(key)
                self.limits.check_count(self.name, len(tensors))
        if self.text[self.position :].strip(_SPACE):
            self._wrong("text after the header's end")
        return tensors, metadata

    def _keys(self) -> Iterator[str]:
        """The keys of one object, none twice; the caller reads each value before it asks for the next key."""
        seen: set[str] = set()
        self._expect("{")
        while self._peek() != "}":
            if seen:
                self._expect(",")
            key = self._string()
            self._expect(":")
            if key in seen:
                self._twice(key)
            seen.add(key)
            yield key
        self._expect("}")

    def _metadata(self) -> dict[str, str]:
        found: dict[str, str] = {}
        if self.text.startswith("null", self._skip()):
            self.position += 4
            return found
        for key in self._keys():
            if len(found) >= MAX_METADATA_ENTRIES:
                wanted = f"at most {MAX_METADATA_ENTRIES:,} metadata entries"
                refuse("too-large", f"{self.name} must have {wanted}, got more")
            found[key] = self._string()
        return found

    def _tensor(self, key: str) -> StoredTensor:
        start = self._skip()
        end = self.text.find("}", start, start + MAX_TENSOR_ENTRY)
        if end < 0:
            self._wrong(f"no description of tensor {key!r} within {MAX_TENSOR_ENTRY:,} characters")
        try:
            pairs = json.loads(self.text[start : end + 1], object_pairs_hook=lambda pairs: pairs)
        except (ValueError, RecursionError) as error:
            self._wrong(f"a description of tensor {key!r} that is no JSON ({error})")
        self.position = end + 1
        fields = dict(pairs) if self.text[start] == "{" else {}
        if len(fields) != len(pairs):
            self._twice(key)
        if set(fields) != _FIELDS:
            self._wrong(f"tensor {key!r} with the fields {sorted(fields)}")
        dtype, shape, offsets = fields["dtype"], fields["shape"], fields["data_offsets"]
        if not isinstance(dtype, str) or dtype not in _DTYPES:
            refuse("not-dense", f"{self.name} must hold dtypes that torch has, got {dtype!r} at {key!r}")
        if not _naturals(shape) or not _naturals(offsets) or len(offsets) != 2 or len(shape) > MAX_DIMENSIONS:
            self._wrong(f"tensor {key!r} of shape {shape} at bytes {offsets}")
        stored = _DTYPES[dtype]
        size = math.prod(shape) * stored.item_bytes
        # Exact whole numbers: a product that overflows 64 bits elsewhere is only a large one here.
        self.total += size
        self.limits.check_tensor(self.name, key, size, self.total)
        if offsets[1] - offsets[0] != size:
            self._wrong(f"tensor {key!r} of {size:,} bytes at bytes {offsets}")
        # A side of 0 leaves no bytes, but torch counts the strides of the others all the same.
        if math.prod(max(1, side) for side in shape) * stored.item_bytes >= 1 << 63:
            self._wrong(f"tensor {key!r} of shape {shape}")
        return StoredTensor(stored.name, tuple(shape), *offsets)

    def _string(self) -> str:
        if self._peek() != '"':
            self._wrong(f"{self._peek()!r} where a text must be")
        try:
            value, self.position = _DECODER.raw_decode(self.text, self._skip())
        except ValueError as error:
            self._wrong(f"no JSON ({error})")
        try:
            value.encode()
        except UnicodeEncodeError:
            self._wrong("half of a surrogate pair in a text")
        return str(value)

    def _skip(self) -> int:
        if self.text[self.position : self.position + 1] in _SPACE:  # so is the end, an empty text
            self.position = _SPACES.match(self.text, self.position).end()  # type: ignore[union-attr]
        return self.position

    def _peek(self) -> str:
        return self.text[self._skip() : self.position + 1]

    def _expect(self, character: str) -> None:
        if self._peek() != character:
            self._wrong(f"{self._peek()!r} where {character!r} must be")
        self.position += 1

    def _twice(self, key: str) -> NoReturn:
        self._wrong(f"{key[:80]!r} twice", "duplicate-keys")

    def _wrong(self, what: str, reason: str = "malformed") -> NoReturn:
        _wrong(self.name, what, reason)


def _wrong(name: str, what: str, reason: str = "malformed", cause: BaseException | None = None) -> NoReturn:
    refuse(reason, f"{name} must be a sound safetensors file, got {what}", cause)


def _naturals(values: Any) -> bool:
    return isinstance(values, list) and all(type(value) is int and value >= 0 for value in values)
