"""A small writer of flatbuffers, forwards and without sharing, and of TFLite models made of them."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

#: Numbers of TensorType in TFLite's schema.
TENSOR_TYPES = {"float32": 0, "float16": 1, "int32": 2, "uint8": 3, "int64": 4, "int8": 9, "int4": 17}
#: Numbers of BuiltinOperator.
OPERATORS = {
    **{"ADD": 0, "CONV_2D": 3, "DEPTHWISE_CONV_2D": 4, "DEQUANTIZE": 6, "FULLY_CONNECTED": 9, "RELU": 19},
    **{"UNIDIRECTIONAL_SEQUENCE_LSTM": 44, "TRANSPOSE_CONV": 67, "CONV_3D": 132},
}


@dataclass
class Scalar:
    """A number in the form of `struct`."""

    form: str
    value: float


@dataclass
class Vector:
    """Numbers of one dtype of NumPy."""

    values: Any


def flatbuffer(root: Mapping[int, Any], identifier: bytes) -> bytes:
    """A file: tables are mappings from field numbers to tables, `Scalar`, `Vector`, str, bytes or lists of tables."""
    out = bytearray(b"\0\0\0\0" + identifier)
    struct.pack_into("<I", out, 0, _table(out, root))
    return bytes(out)


def _table(out: bytearray, fields: Mapping[int, Any]) -> int:
    """Append a table behind its vtable, and what it refers to behind it; returns its place."""
    count = max(fields, default=-1) + 1
    places, size = {}, 4
    for number, value in fields.items():
        width = struct.calcsize(value.form) if isinstance(value, Scalar) else 4
        size = -(-size // width) * width
        places[number] = size
        size += width
    while len(out) % 8:
        out.append(0)
    vtable = len(out)
    out += struct.pack("<2H", 4 + 2 * count, size)
    out += struct.pack(f"<{count}H", *(places.get(number, 0) for number in range(count)))
    while len(out) % 8:
        out.append(0)
    position = len(out)
    out += struct.pack("<i", position - vtable) + bytes(size - 4)
    for number, value in fields.items():
        place = position + places[number]
        if isinstance(value, Scalar):
            struct.pack_into(value.form, out, place, value.value)
        else:
            struct.pack_into("<I", out, place, _reference(out, value) - place)
    return position


def _reference(out: bytearray, value: Any) -> int:
    if isinstance(value, Mapping):
        return _table(out, value)
    while len(out) % 8 != 4:  # so that values of eight bytes are aligned
        out.append(0)
    start = len(out)
    if isinstance(value, list):
        out += struct.pack("<I", len(value)) + bytes(4 * len(value))
        for number, table in enumerate(value):
            place = start + 4 + 4 * number
            struct.pack_into("<I", out, place, _table(out, table) - place)
        return start
    raw = value.encode() if isinstance(value, str) else value if isinstance(value, bytes) else value.values.tobytes()
    count = len(raw) if isinstance(value, str | bytes) else len(value.values)
    out += struct.pack("<I", count) + raw + b"\0"
    return start


def tensor(name: str, dtype: str, shape: Sequence[int], buffer: int, **scale: Any) -> dict[int, Any]:
    """A Tensor; ``scales``, ``zeros`` and ``axis`` make it a quantised one."""
    fields: dict[int, Any] = {
        0: Vector(np.array(shape, "<i4")),
        1: Scalar("<b", TENSOR_TYPES[dtype]),
        2: Scalar("<I", buffer),
        3: name,
    }
    if scale:
        fields[4] = {
            2: Vector(np.array(scale["scales"], "<f4")),
            3: Vector(np.array(scale["zeros"], "<i8")),
            6: Scalar("<i", scale.get("axis", 0)),
        }
    return fields


def tflite(
    arrays: Mapping[str, Any],
    operators: Sequence[tuple[str, Sequence[str], Sequence[str]]],
    outputs: Sequence[str],
    scales: Mapping[str, Any] | None = None,
) -> dict[int, Any]:
    """A model: ``x`` is its input, values that are no arrays are what operators give.

    Args:
        arrays: NumPy arrays by name.
        operators: type, inputs and outputs of each; ``""`` for an input that is left out.
        outputs: names of the model's outputs.
        scales: options of `tensor` by name of array.
    """
    values = [name for _, inputs, given in operators for name in (*inputs, *given) if name and name not in arrays]
    names = list(dict.fromkeys(["x", *arrays, *values]))
    tensors, buffers = [], [{}]
    for name in names:
        array = arrays.get(name)
        if array is None:
            tensors.append(tensor(name, "float32", (), 0))
            continue
        buffers.append({0: np.ascontiguousarray(array).tobytes()})
        tensors.append(tensor(name, array.dtype.name, array.shape, len(buffers) - 1, **(scales or {}).get(name, {})))
    kinds = list(dict.fromkeys(kind for kind, _, _ in operators))

    def numbers(found: Sequence[str]) -> Vector:
        return Vector(np.array([names.index(name) if name else -1 for name in found], "<i4"))

    return {
        0: Scalar("<I", 3),
        1: [{0: Scalar("<b", min(OPERATORS[kind], 127)), 3: Scalar("<i", OPERATORS[kind])} for kind in kinds],
        2: [
            {
                0: tensors,
                1: numbers(["x"]),
                2: numbers(outputs),
                3: [
                    {0: Scalar("<I", kinds.index(kind)), 1: numbers(inputs), 2: numbers(given)}
                    for kind, inputs, given in operators
                ],
            }
        ],
        3: "made for a test",
        4: buffers,
    }
