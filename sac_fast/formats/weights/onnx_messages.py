"""ONNX files as light messages: the graph is parsed, the bytes of its tensors are only found.

protobuf would hold every weight in memory, twice while it parses; here a tensor is where it lies in the file. No
library is needed, and fields that do not matter are skipped.

Source: the wire format at https://protobuf.dev/programming-guides/encoding and onnx.proto.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, NoReturn

from ..limits import MAX_DIMENSIONS, MAX_ONNX_DEPTH, MAX_ONNX_GRAPH_FIELDS, Limits, refuse
from ..onnx_wire import decode_varints, read_varint
from .arrays import Attribute
from .ranges import FileRanges

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_BLOCK = 1 << 16
_MAX_TEXT = 1 << 16  # bytes of one name
_MAX_NUMBERS = 1 << 12  # of one attribute
_MESSAGE_BYTES = 800  # a node or tensor as Python objects
# Fields of TensorProto that hold values: packed numbers, or bytes.
_VALUES = {4: "float_data", 5: "int32_data", 7: "int64_data", 9: "raw_data", 10: "double_data", 11: "uint64_data"}


class Entry(NamedTuple):
    """A text by its key."""

    key: str
    value: str


class Field(NamedTuple):
    """One field: a number, or where its bytes lie."""

    number: int
    wire: int
    value: int
    start: int
    size: int


@dataclass
class Tensor:
    """A TensorProto; ``stored`` says which field holds its values, ``start`` and ``size`` where."""

    name: str = ""
    dims: list[int] = field(default_factory=list)
    data_type: int = 0
    stored: str = ""
    start: int = 0
    size: int = 0
    external: bool = False
    external_data: list[Entry] = field(default_factory=list)


@dataclass
class Node:
    """A NodeProto."""

    op: str = ""
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    attributes: dict[str, Attribute] = field(default_factory=dict)
    tensors: list[Tensor] = field(default_factory=list)
    graphs: list[Messages] = field(default_factory=list)


@dataclass
class Messages:
    """A GraphProto."""

    name: str = ""
    nodes: list[Node] = field(default_factory=list)
    tensors: list[Tensor] = field(default_factory=list)
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)


@dataclass
class Model:
    """A ModelProto: its graph, and texts about it."""

    graph: Messages = field(default_factory=Messages)
    metadata: dict[str, str] = field(default_factory=dict)


class OnnxParser:
    """Parses one file within limits on fields, depth and memory."""

    def __init__(self, ranges: FileRanges, limits: Limits) -> None:
        self._ranges = ranges
        self._budget = ranges.size + limits.free_expansion_bytes
        self._fields = 0
        self._block = (0, b"")

    def model(self) -> Model:
        """Parse the file.

        Raises:
            ModelRefusedError: damaged, nested too deeply, or more than the limits.
        """
        model = Model()
        texts = {2: "producer_name", 3: "producer_version", 4: "domain", 6: "doc_string"}
        for found in self._all(0, self._ranges.size, 0):
            if found.number in texts and found.wire == _BYTES:
                model.metadata[texts[found.number]] = self._claim(found)
            elif found.number == 7 and found.wire == _BYTES:
                model.graph = self._graph(found, 1)
            elif found.number == 14 and found.wire == _BYTES:
                entry = self._entry(found, claim=True)
                model.metadata.setdefault(f"metadata {entry.key}", entry.value)
        if model.graph.name:
            model.metadata["graph"] = model.graph.name
        return model

    def _graph(self, place: Field, depth: int) -> Messages:
        graph = Messages()
        self._spend(_MESSAGE_BYTES)
        for found in self._all(place.start, place.start + place.size, depth):
            if found.wire != _BYTES:
                continue
            if found.number == 1:
                graph.nodes.append(self._node(found, depth + 1))
            elif found.number == 2:
                graph.name = self._text(found)
            elif found.number == 5:
                graph.tensors.append(self._tensor(found, depth + 1))
            elif found.number in (11, 12):
                values = graph.inputs if found.number == 11 else graph.outputs
                values += [self._text(inner) for inner in self._inner(found, depth + 1) if inner.number == 1]
            elif found.number == 15:
                refuse("sparse", f"{self._ranges.name} must hold dense weights only, got a sparse initializer")
        return graph

    def _node(self, place: Field, depth: int) -> Node:
        node = Node()
        self._spend(_MESSAGE_BYTES)
        for found in self._inner(place, depth):
            if found.number in (1, 2):
                (node.inputs if found.number == 1 else node.outputs).append(self._text(found))
            elif found.number == 4:
                node.op = self._text(found)
            elif found.number == 5:
                self._attribute(found, node, depth + 1)
        return node

    def _attribute(self, place: Field, node: Node, depth: int) -> None:
        name = ""
        value: Attribute | None = None
        whole: list[int] = []
        real: list[float] = []
        for found in self._all(place.start, place.start + place.size, depth):
            if found.number == 1:
                name = self._text(found)
            elif found.number == 2 and found.wire == _FIXED32:
                value = _real(found.value)
            elif found.number == 3 and found.wire == _VARINT:
                value = _signed(found.value)
            elif found.number == 4 and found.wire == _BYTES:
                value = self._text(found) if found.size <= _MAX_TEXT else ""
            elif found.number in (5, 10) and found.wire == _BYTES:
                node.tensors.append(self._tensor(found, depth + 1))
            elif found.number in (6, 11) and found.wire == _BYTES:
                node.graphs.append(self._graph(found, depth + 1))
            elif found.number == 7:
                real += [_real(found.value)] if found.wire == _FIXED32 else self._packed_reals(found)
            elif found.number == 8:
                whole += [_signed(found.value)] if found.wire == _VARINT else self._packed(found)
            elif found.number in (22, 23):
                refuse("sparse", f"{self._ranges.name} must hold dense weights only, got a sparse attribute")
        if whole or real:
            value = tuple(whole[:_MAX_NUMBERS]) or tuple(real[:_MAX_NUMBERS])
        if value is not None:
            node.attributes[name] = value

    def _tensor(self, place: Field, depth: int) -> Tensor:
        tensor = Tensor()
        self._spend(_MESSAGE_BYTES)
        for found in self._all(place.start, place.start + place.size, depth):
            if found.number == 1:
                tensor.dims += [_signed(found.value)] if found.wire == _VARINT else self._packed(found)
                if len(tensor.dims) > MAX_DIMENSIONS:
                    self._wrong(f"a tensor of more than {MAX_DIMENSIONS} dimensions")
            elif found.number == 2 and found.wire == _VARINT:
                tensor.data_type = found.value
            elif found.number == 3:
                self._wrong("a tensor in segments")
            elif found.number == 8:
                tensor.name = self._text(found)
            elif found.number == 13 and found.wire == _BYTES and len(tensor.external_data) < 16:
                tensor.external_data.append(self._entry(found))
            elif found.number == 14 and found.wire == _VARINT:
                tensor.external = found.value == 1
            elif found.number in _VALUES:
                if found.wire != _BYTES or tensor.stored:
                    self._wrong(f"values of {tensor.name[:80]!r} in several pieces")
                tensor.stored, tensor.start, tensor.size = _VALUES[found.number], found.start, found.size
        return tensor

    def _entry(self, place: Field, *, claim: bool = False) -> Entry:
        parts = {1: "", 2: ""}
        for found in self._inner(place, 2):
            if found.number not in parts:
                continue
            parts[found.number] = self._claim(found) if claim else self._text(found)
        return Entry(parts[1], parts[2])

    def _inner(self, place: Field, depth: int) -> Iterator[Field]:
        """Fields of a message that are bytes themselves."""
        for found in self._all(place.start, place.start + place.size, depth):
            if found.wire == _BYTES:
                yield found

    def _all(self, position: int, stop: int, depth: int) -> Iterator[Field]:
        if depth > MAX_ONNX_DEPTH:
            self._wrong(f"messages more than {MAX_ONNX_DEPTH} deep", "expanded")
        while position < stop:
            head = self._read(position, min(20, stop - position))
            tag, used = read_varint(head)
            value, more = read_varint(head[used:])
            wire = tag & 7
            start = position + used
            size = {_VARINT: more, _FIXED64: 8, _BYTES: value, _FIXED32: 4}.get(wire, -1)
            start += more if wire == _BYTES else 0
            self._fields += 1
            lacking = wire in (_VARINT, _BYTES) and not more
            if not used or tag < 8 or size < 0 or lacking or start + size > stop:
                self._wrong("a damaged field")
            if self._fields > MAX_ONNX_GRAPH_FIELDS:
                self._wrong(f"more than {MAX_ONNX_GRAPH_FIELDS:,} fields", "expanded")
            if wire in (_FIXED32, _FIXED64):
                value = int.from_bytes(head[used : used + size], "little")
            position = start + size
            yield Field(tag >> 3, wire, value, start, size)

    def _read(self, start: int, count: int) -> bytes:
        """A few bytes, from a block that is kept."""
        offset = start - self._block[0]
        if offset < 0 or offset + count > len(self._block[1]):
            block = self._ranges.read(start, min(max(_BLOCK, count), self._ranges.size - start))
            self._block, offset = (start, block), 0
        return self._block[1][offset : offset + count]

    def _text(self, place: Field) -> str:
        if place.wire != _BYTES or place.size > _MAX_TEXT:
            self._wrong(f"a text of {place.size:,} bytes")
        self._spend(100 + place.size)
        return self._read(place.start, place.size).decode("utf-8", "replace")

    def _claim(self, place: Field) -> str:
        """The beginning of a text that matters to people only."""
        self._spend(100 + min(place.size, _MAX_TEXT))
        return self._ranges.read(place.start, min(place.size, _MAX_TEXT)).decode("utf-8", "replace")

    def _packed(self, place: Field) -> list[int]:
        values = decode_varints(self._numbers(place))
        if values is None:
            self._wrong("a damaged list of numbers")
        return [_signed(value) for value in values.tolist()]

    def _packed_reals(self, place: Field) -> list[float]:
        data = self._numbers(place)
        return list(struct.unpack(f"<{len(data) // 4}f", data[: len(data) // 4 * 4]))

    def _numbers(self, place: Field) -> bytes:
        if place.wire != _BYTES:
            self._wrong("a list of numbers of another kind")
        return self._read(place.start, min(place.size, 4 * _MAX_NUMBERS))

    def _spend(self, count: int) -> None:
        self._budget -= count
        if self._budget < 0:
            self._wrong("messages that need far more memory than the file has bytes", "expanded")

    def _wrong(self, found: str, reason: str = "malformed") -> NoReturn:
        refuse(reason, f"{self._ranges.name} must be a sound ONNX file, got {found}")


def _signed(value: int) -> int:
    value &= (1 << 64) - 1
    return value - (1 << 64) if value >> 63 else value


def _real(bits: int) -> float:
    return float(struct.unpack("<f", struct.pack("<I", bits & 0xFFFFFFFF))[0])
