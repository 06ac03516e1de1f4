"""Hypothesis strategies that damage files: bytes, lengths, pieces of other files, words of texts, and structure."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

from hypothesis import strategies as st

from .structure import restructured

MAX_BYTES = 1 << 20
_NUMBERS = (0, 1, 2, 7, 127, 128, 255, 256, 32767, 65535, 1 << 31, (1 << 31) - 1, 1 << 32, (1 << 63) - 1, (1 << 64) - 1)
_WORDS = (
    *(b"", b"{}", b"[]", b"[[[[[[[[", b'""', b"null", b"-1", b"1e999", b"NaN", b"0x", b"\x00", b"\n", b"\r\n", b","),
    *(b".a.a.a.a", b"\xff\xfe", b"\xef\xbb\xbf", b"../", b"/dev/zero", b"9" * 40),
    *(b"PK\x03\x04", b"PK\x01\x02", b"\x80\x02", b"]", b"}q\x00"),
)

Mutation = tuple[str, float, Any]

# Of floats, and of integers of more bits, Hypothesis draws few but the simplest.
places: st.SearchStrategy[float] = st.integers(0, (1 << 20) - 1).map(lambda number: number / (1 << 20))
_structure = st.tuples(st.just("structure"), places, st.integers(0, (1 << 24) - 1))
_anywhere = st.lists(
    st.one_of(
        _structure,
        st.tuples(st.just("flip"), places, st.integers(0, 7)),
        st.tuples(st.just("set"), places, st.integers(0, 255)),
        st.tuples(st.just("number"), places, st.tuples(st.sampled_from(_NUMBERS), st.sampled_from((1, 2, 4, 8)))),
        st.tuples(st.just("add"), places, st.tuples(st.integers(-16, 16), st.sampled_from((1, 2, 4, 8)))),
        st.tuples(st.just("insert"), places, st.sampled_from(_WORDS) | st.binary(max_size=16)),
        st.tuples(st.just("delete"), places, st.integers(1, 64)),
        st.tuples(st.just("repeat"), places, st.tuples(st.integers(1, 64), st.integers(2, 2000))),
        st.tuples(st.just("move"), places, st.tuples(places, st.integers(1, 64))),
        st.tuples(st.just("splice"), places, st.tuples(st.integers(0, 63), places)),
        st.tuples(st.just("cut"), places, st.just(0)),
        st.tuples(st.just("grow"), places, st.sampled_from((1, 100, 70_000))),
    ),
    min_size=1,
    max_size=6,
)
#: Within the structure alone. A second damage mostly hides what a first one would find.
structural: st.SearchStrategy[list[Mutation]] = st.lists(_structure, min_size=1, max_size=2)
mutations: st.SearchStrategy[list[Mutation]] = st.booleans().flatmap(lambda inside: structural if inside else _anywhere)


def mutated(content: bytes, changes: Sequence[Mutation], others: Sequence[bytes]) -> bytes:
    """A file after some changes; `others` are those that pieces are taken from."""
    for kind, place, value in changes:
        at = int(place * (len(content) + 1))
        if int(place * (1 << 20)) % 2:  # zeros are mostly padding
            at = len(content) - len(content[at:].lstrip(b"\0"))
        content = _changed(content, kind, at, value, others)[:MAX_BYTES]
    return content


def _damaged(content: bytes, random: Random) -> bytes:
    """Bytes after one change anywhere."""
    kind, value = random.choice(
        (
            ("flip", random.randrange(8)),
            ("set", random.randrange(256)),
            ("number", (random.choice(_NUMBERS), random.choice((1, 2, 4, 8)))),
            ("add", (random.randint(-16, 16), random.choice((1, 2, 4, 8)))),
            ("insert", random.choice((*_WORDS, random.randbytes(random.randrange(16))))),
            ("delete", random.randint(1, 64)),
            ("repeat", (random.randint(1, 64), random.choice((2, 30, 2000)))),
            ("cut", 0),
        )
    )
    return _changed(content, kind, random.randint(0, len(content)), value, [content])


def _changed(content: bytes, kind: str, at: int, value: Any, others: Sequence[bytes]) -> bytes:
    if kind == "structure":
        random = Random(value)
        return restructured(content, random, lambda part: _damaged(part, random))
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
