"""JSON from others is bounded in depth, so that whatever writes it again does not run out of stack."""

from __future__ import annotations

import json

import pytest

from sac_fast.errors import ModelRefusedError
from sac_fast.formats.json_text import is_finite_number, parse_json


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
