"""ONNX files as a stream of protobuf fields: what they are, before protobuf itself sees them.

Source: the wire format at https://protobuf.dev/programming-guides/encoding and ModelProto of onnx.proto.
"""

from __future__ import annotations

import os
from typing import BinaryIO

# Fields of ModelProto with their wire types: 0 a number, 2 bytes.
_MODEL_FIELDS = {1: 0, 2: 2, 3: 2, 4: 2, 5: 0, 6: 2, 7: 2, 8: 2, 14: 2, 20: 2, 25: 2, 26: 2}
_GRAPH = 7
_MAX_FIELDS = 10_000


def looks_like_onnx(handle: BinaryIO) -> bool:
    """Whether the whole file is a sequence of ModelProto's fields with exactly one graph among them."""
    size = os.fstat(handle.fileno()).st_size
    position, graphs = 0, 0
    for _ in range(_MAX_FIELDS):
        if position == size:
            return graphs == 1
        handle.seek(position)
        head = handle.read(20)
        tag, used = _varint(head)
        value, more = _varint(head[used:])
        if not used or not more or _MODEL_FIELDS.get(tag >> 3) != tag & 7:
            return False
        graphs += tag >> 3 == _GRAPH
        position += used + more + (value if tag & 7 == 2 else 0)
        if position > size:
            return False
    return False


def _varint(data: bytes) -> tuple[int, int]:
    """A number and its length; length 0 where there is none."""
    value = 0
    for index, byte in enumerate(data[:10]):
        value |= (byte & 127) << (7 * index)
        if byte < 128:
            return value, index + 1
    return 0, 0
