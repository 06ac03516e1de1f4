"""JSON from others is bounded in depth, so that whatever writes it again does not run out of stack."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.bounded import bounded

from sac_fast.errors import ModelRefusedError
from sac_fast.formats.json_text import is_finite_number, parse_json
from sac_fast.report.files import read_json


def test_deep_values_are_refused() -> None:
    def text(depth: int) -> bytes:
        return b'{"a": ' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"

    assert json.dumps(parse_json(text(100), "x")) == text(100).decode()
    for depth in (101, 960, 5000):
        with pytest.raises(ModelRefusedError, match=r"x must be sound JSON, got .*(nested at most 100 deep|Recursion)"):
            parse_json(text(depth), "x")


def test_numbers_that_a_float_holds() -> None:
    values = [0, -3, 1.5, 1 << 1000, 1 << 1024, -(10**400), float("nan"), float("inf"), True, None, "1"]
    assert [is_finite_number(value) for value in values] == [True] * 4 + [False] * 7


@pytest.mark.parametrize("end", ["", "\\ud83d\\ude00"], ids=["ASCII", "of four bytes"])
def test_long_texts_take_few_times_their_bytes(tmp_path: Path, end: str) -> None:
    path = tmp_path / "a.json"
    path.write_text('{\n "a": "' + "x" * (31 << 20) + end + '"\n}\n')
    with bounded(path.stat().st_size, seconds=10):
        assert len(read_json(path)["a"]) == (31 << 20) + bool(end)


@pytest.mark.parametrize(
    ("text", "most"),
    [(b"x" * (33 << 20), "33,554,432"), ("é".encode() * (9 << 20), "16,777,216")],
    ids=["ASCII", "others"],
)
def test_texts_that_would_take_more_are_refused(text: bytes, most: str) -> None:
    with bounded(len(text), seconds=5), pytest.raises(ModelRefusedError, match=f"at most {most} bytes of JSON, got"):
        parse_json(text, "x")


@pytest.mark.parametrize(
    ("begin", "value", "end"),
    [(b"{", b'"%x":0', b"}"), (b'{"a":[', b'"%x"', b"]}"), (b'{"a":[', b"%d.5", b"]}")],
    ids=["names", "texts", "numbers"],
)
def test_as_many_values_as_are_read_take_little_memory(begin: bytes, value: bytes, end: bytes) -> None:
    text = begin + b",".join(value % number for number in range(899_000)) + end
    with bounded(len(text), seconds=20):
        parse_json(text, "x")
    with pytest.raises(ModelRefusedError, match="at most 900,000 values"):
        parse_json(text.replace(end, b"," * 1001 + end), "x")
