"""Changes of one field somewhere in a protobuf message; the lengths around it are made to fit."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

_MAX_DEPTH = 12
_VARINTS = (0, 1, 2, 7, 127, 128, 1 << 31, (1 << 31) - 1, 1 << 32, (1 << 63) - 1, 1 << 63, (1 << 64) - 1)

# Number of the field, wire type, and a number, bytes, or fields.
Field = tuple[int, int, Any]


def changed_message(content: bytes, random: Random, damage: Callable[[bytes], bytes]) -> bytes:
    """A message with one field changed, left out, repeated, moved or taken from elsewhere in it.

    Raises:
        ValueError: it is no message.
    """
    fields = _parse(content, 0)
    if not fields:
        raise ValueError("no field")
    for _ in range(random.choice((1, 1, 2, 3))):
        fields = _changed(fields, random, damage, _all(fields))
    return _pack(fields)


def _changed(fields: list[Field], random: Random, damage: Callable[[bytes], bytes], others: list[Field]) -> list[Field]:
    if not fields:
        return [random.choice(others)]
    at = random.choices(range(len(fields)), [_size(field) for field in fields])[0]
    number, wire, value = fields[at]
    head, tail = fields[:at], fields[at + 1 :]
    if isinstance(value, list) and random.randrange(_size(fields[at])):
        return [*head, (number, wire, _changed(value, random, damage, others)), *tail]
    kind = random.random()
    if kind < 0.1:
        return head + tail
    if kind < 0.2:
        return [*head, *[fields[at]] * random.choice((2, 2, 200)), *tail]
    if kind < 0.3:
        other = random.choice(others)
        return [*head, (number, other[1], other[2]), *tail]
    if kind < 0.35:
        return [*head, (random.randrange(1, 32), wire, value), *tail]
    if kind < 0.4:
        return [*head, fields[at], random.choice(others), *tail]
    if wire == 0:
        return [*head, (number, wire, random.choice((*_VARINTS, value + 1, max(0, value - 1)))), *tail]
    return [*head, (number, wire, damage(_pack(value) if isinstance(value, list) else value)), *tail]


def _size(field: Field) -> int:
    return 1 + sum(map(_size, field[2])) if isinstance(field[2], list) else 1


def _all(fields: list[Field]) -> list[Field]:
    found = []
    for field in fields:
        found.append(field)
        if isinstance(field[2], list):
            found += _all(field[2])
    return found


def _parse(content: bytes, depth: int) -> list[Field]:
    fields: list[Field] = []
    place = 0
    while place < len(content):
        tag, place = _varint(content, place)
        number, wire = tag >> 3, tag & 7
        value: Any
        if wire == 0:
            value, place = _varint(content, place)
        elif wire in (1, 5):
            value, place = content[place : place + (8 if wire == 1 else 4)], place + (8 if wire == 1 else 4)
        elif wire == 2:
            length, place = _varint(content, place)
            value, place = content[place : place + length], place + length
        else:
            raise ValueError(f"wire type {wire}")
        if not number or place > len(content):
            raise ValueError("cut")
        fields.append((number, wire, _inner(value, depth) if wire == 2 else value))
    return fields


def _inner(value: bytes, depth: int) -> Any:
    """The fields of a message, or bytes that are none; a text of few letters may be taken for one."""
    if depth >= _MAX_DEPTH or len(value) < 2:
        return value
    try:
        return _parse(value, depth + 1)
    except ValueError:
        return value


def _varint(content: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while place < len(content) and shift < 70:
        byte = content[place]
        value |= (byte & 127) << shift
        place, shift = place + 1, shift + 7
        if byte < 128:
            return value, place
    raise ValueError("no number")


def _packed(value: int) -> bytes:
    value %= 1 << 64
    made = bytearray()
    while value > 127:
        made.append(value & 127 | 128)
        value >>= 7
    return bytes([*made, value])


def _pack(fields: list[Field]) -> bytes:
    made = []
    for number, wire, value in fields:
        made.append(_packed(number << 3 | wire))
        if wire == 0:
            made.append(_packed(value))
        elif wire == 2:
            data = _pack(value) if isinstance(value, list) else value
            made += [_packed(len(data)), data]
        else:
            made.append(value.ljust(8 if wire == 1 else 4, b"\0")[: 8 if wire == 1 else 4])
    return b"".join(made)
