"""Hypothesis strategies that damage files: bytes, lengths, pieces of other files, and words of text formats."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

MAX_BYTES = 1 << 20
_NUMBERS = (0, 1, 2, 7, 127, 128, 255, 256, 32767, 65535, 1 << 31, (1 << 31) - 1, 1 << 32, (1 << 63) - 1, (1 << 64) - 1)
_WORDS = (
    *(b"", b"{}", b"[]", b"[[[[[[[[", b'""', b"null", b"-1", b"1e999", b"NaN", b"0x", b"\x00", b"\n", b"\r\n", b","),
    *(b".a.a.a.a", b"\xff\xfe", b"\xef\xbb\xbf", b"../", b"/dev/zero", b"9" * 40),
    *(b"PK\x03\x04", b"PK\x01\x02", b"\x80\x02", b"]", b"}q\x00"),
)

Mutation = tuple[str, float, Any]

_place = st.floats(0, 1, exclude_max=True)
mutations: st.SearchStrategy[list[Mutation]] = st.lists(
    st.one_of(
        st.tuples(st.just("flip"), _place, st.integers(0, 7)),
        st.tuples(st.just("set"), _place, st.integers(0, 255)),
        st.tuples(st.just("number"), _place, st.tuples(st.sampled_from(_NUMBERS), st.sampled_from((1, 2, 4, 8)))),
        st.tuples(st.just("add"), _place, st.tuples(st.integers(-16, 16), st.sampled_from((1, 2, 4, 8)))),
        st.tuples(st.just("insert"), _place, st.sampled_from(_WORDS) | st.binary(max_size=16)),
        st.tuples(st.just("delete"), _place, st.integers(1, 64)),
        st.tuples(st.just("repeat"), _place, st.tuples(st.integers(1, 64), st.integers(2, 2000))),
        st.tuples(st.just("move"), _place, st.tuples(_place, st.integers(1, 64))),
        st.tuples(st.just("splice"), _place, st.tuples(st.integers(0, 63), _place)),
        st.tuples(st.just("cut"), _place, st.just(0)),
        st.tuples(st.just("grow"), _place, st.sampled_from((1, 100, 70_000))),
    ),
    min_size=1,
    max_size=6,
)


def mutated(content: bytes, changes: Sequence[Mutation], others: Sequence[bytes]) -> bytes:
    """A file after some changes; `others` are those that pieces are taken from."""
    for kind, place, value in changes:
        at = int(place * (len(content) + 1))
        content = _changed(content, kind, at, value, others)[:MAX_BYTES]
    return content


def _changed(content: bytes, kind: str, at: int, value: Any, others: Sequence[bytes]) -> bytes:
    head, tail = content[:at], content[at:]
    if kind == "flip":
        return head + bytes([byte ^ 1 << value for byte in tail[:1]]) + tail[1:]
    if kind == "set":
        return head + bytes([value]) + tail[1:]
    if kind == "number":
        return head + (value[0] % (1 << 8 * value[1])).to_bytes(value[1], "little") + tail[value[1] :]
    if kind == "add":
        change, size = value
        number = (int.from_bytes(tail[:size], "little") + change) % (1 << 8 * size)
        return head + number.to_bytes(size, "little") + tail[size:]
    if kind == "insert":
        return head + value + tail
    if kind == "delete":
        return head + tail[value:]
    if kind == "repeat":
        return head + tail[: value[0]] * value[1] + tail
    if kind == "move":
        start = int(value[0] * len(content))
        return head + content[start : start + value[1]] + tail
    if kind == "splice":
        other = others[value[0] % len(others)]
        return head + other[int(value[1] * len(other)) :]
    return head if kind == "cut" else content + bytes(value)
