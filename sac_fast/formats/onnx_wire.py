"""ONNX files as a stream of protobuf fields: what they are, before protobuf itself sees them.

Source: the wire format at https://protobuf.dev/programming-guides/encoding and ModelProto of onnx.proto.
"""

from __future__ import annotations

import functools
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from ..io.files import file_size
from .limits import MAX_ONNX_DEPTH, MAX_ONNX_FIELDS, MAX_ONNX_GRAPH_FIELDS, Limits, refuse

# Fields of ModelProto with their wire types: 0 a number, 2 bytes.
_MODEL_FIELDS = {1: 0, 2: 2, 3: 2, 4: 2, 5: 0, 6: 2, 7: 2, 8: 2, 14: 2, 20: 2, 25: 2, 26: 2}
_GRAPH = 7
_MESSAGE_BYTES = 160
_PACKED, _TEXT = "packed", "text"


def looks_like_onnx(handle: BinaryIO) -> bool:
    """Whether the whole file is a sequence of ModelProto's fields with exactly one graph among them."""
    fields = top_fields(handle)
    return sum(number == _GRAPH for number, _ in fields) == 1 and all(
        _MODEL_FIELDS.get(number) == wire for number, wire in fields
    )


def top_fields(handle: BinaryIO) -> list[tuple[int, int]]:
    """Numbers and wire types of the fields that a whole file is a sequence of; empty where it is no protobuf message.

    Only numbers and bytes are followed, and few fields: models have no others at their top.
    """
    size = file_size(handle)
    position = 0
    fields: list[tuple[int, int]] = []
    while position < size and len(fields) < MAX_ONNX_FIELDS:
        handle.seek(position)
        head = handle.read(20)
        tag, used = read_varint(head)
        value, more = read_varint(head[used:])
        if not used or not more or tag & 7 not in (0, 2):
            return []
        fields.append((tag >> 3, tag & 7))
        position += used + more + (value if tag & 7 == 2 else 0)
    return fields if position == size else []


def read_varint(data: bytes) -> tuple[int, int]:
    """A number and its length; length 0 where there is none."""
    if data and data[0] < 128:
        return data[0], 1
    value = 0
    for index, byte in enumerate(data[:10]):
        value |= (byte & 127) << (7 * index)
        if byte < 128:
            return value, index + 1
    return 0, 0


def decode_varints(data: bytes) -> npt.NDArray[np.uint64] | None:
    """A packed list of numbers modulo 2⁶⁴; None where it is damaged."""
    raw = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(raw < 128)
    if not len(raw):
        return np.zeros(0, np.uint64)
    if not len(ends) or ends[-1] != len(raw) - 1:
        return None
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1
    if lengths.max() > 10:
        return None
    values = np.zeros(len(ends), np.uint64)
    for place in range(int(lengths.max())):
        held = lengths > place
        values[held] |= (raw[starts[held] + place] & np.uint8(127)).astype(np.uint64) << np.uint64(7 * place)
    return values


def check_fields(data: bytes, descriptor: Any, name: str, limits: Limits) -> None:
    """Walk through a message and refuse one that would need far more memory than it has bytes.

    Two bytes can be an empty node, which takes a hundred in memory; one byte of a packed list can be a number of eight.

    Args:
        data: the message.
        descriptor: its protobuf descriptor.
        name: what error messages call the file.
        limits: on the expansion.

    Raises:
        ModelRefusedError: damaged, nested too deeply, too many fields, or a text that is no UTF-8.
    """
    budget = len(data) + limits.free_expansion_bytes
    fields = cost = 0
    stack = [(0, len(data), descriptor, 0)]
    while stack:
        position, stop, message, depth = stack.pop()
        schema = _schema(message)
        while position < stop:
            tag, used = read_varint(data[position : position + 10])
            position += used
            value, more = read_varint(data[position : position + 10])
            wire = tag & 7
            size = {0: more, 1: 8, 2: more + value, 5: 4}.get(wire, -1)
            if not used or tag < 8 or size < 0 or (wire in (0, 2) and not more) or position + size > stop:
                refuse("malformed", f"{name} must be a sound ONNX file, got a damaged field")
            fields += 1
            kind = schema.get(tag >> 3) if wire == 2 else None
            if kind is None:
                cost += 32 + (value if wire == 2 else 0)
            elif kind == _PACKED:
                # Every number of a packed list ends with a byte below 128.
                ends = np.frombuffer(data, np.uint8, value, position + more) < 128
                cost += 8 * int(np.count_nonzero(ends))
            elif kind == _TEXT:
                cost += 32 + value
                _check_text(data[position + more : position + size], name)
            else:
                cost += _MESSAGE_BYTES
                if value:
                    stack.append((position + more, position + size, kind, depth + 1))
            position += size
            if fields > MAX_ONNX_GRAPH_FIELDS or depth > MAX_ONNX_DEPTH or cost > budget:
                wanted = f"at most {MAX_ONNX_GRAPH_FIELDS:,} fields, {MAX_ONNX_DEPTH} deep, that needs {budget:,} bytes"
                refuse("expanded", f"{name} must be an ONNX graph of {wanted}, got more")


@functools.cache
def _schema(message: Any) -> dict[int, Any]:
    """Of a message's fields those that are messages, texts, or lists of varints."""
    found: dict[int, Any] = {}
    for field in message.fields:
        if field.message_type:
            found[field.number] = field.message_type
        elif field.type == field.TYPE_STRING:
            found[field.number] = _TEXT
        elif field.type in (field.TYPE_INT32, field.TYPE_INT64, field.TYPE_UINT64):
            found[field.number] = _PACKED
    return found


def _check_text(text: bytes, name: str) -> None:
    """Refuse a text that is no UTF-8: protobuf hands it over as bytes, which nothing that takes a text expects."""
    try:
        text.decode()
    except UnicodeDecodeError as error:
        refuse("malformed", f"{name} must hold texts in UTF-8, got {text[:40]!r}", error)
