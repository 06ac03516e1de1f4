"""JSON files from others: their parts are counted before anything is made of them."""

from __future__ import annotations

import json
import sys
from typing import Any, BinaryIO

from ..io.files import file_size
from ..io.schema import check_depth
from .limits import MAX_JSON_BYTES, MAX_JSON_DEPTH, MAX_JSON_VALUES, Limits, refuse, refuse_errors


def read_json(handle: BinaryIO, name: str, limits: Limits) -> dict[str, Any]:
    """Read a file that is one JSON object, or a list: ``{"": list}``.

    Args:
        handle: the open file.
        name: what messages call it.
        limits: on its size.

    Raises:
        ModelRefusedError: no JSON object or list, a key twice in one object, or more than the limits.
    """
    limits.check_header(name, file_size(handle), "JSON")
    handle.seek(0)
    return parse_json(handle.read(limits.max_header_bytes), name)


def parse_json(text: bytes, name: str) -> dict[str, Any]:
    """A JSON object, see `read_json`; a list stands for an object with it under ``""``."""
    most = MAX_JSON_BYTES if text.isascii() else MAX_JSON_BYTES // 2
    if len(text) > most:
        refuse("too-large", f"{name} must have at most {most:,} bytes of JSON, got {len(text):,}")
    # Two bytes can be a list of a hundred.
    if sum(map(text.count, (b",", b"[", b"{"))) > MAX_JSON_VALUES:
        refuse("too-large", f"{name} must hold at most {MAX_JSON_VALUES:,} values, got more")

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            refuse("duplicate-keys", f"{name} must name every key of an object once, got one twice")
        return found

    with refuse_errors(f"{name} must be sound JSON"):
        found = json.loads(text.decode("utf-8"), object_pairs_hook=unique)
        # a value that is just parsed without RecursionError would raise it where it is written or hashed
        check_depth(found, "its values", MAX_JSON_DEPTH)
    if isinstance(found, list):
        return {"": found}
    if not isinstance(found, dict):
        refuse("malformed", f"{name} must be a JSON object or list, got {type(found).__name__}")
    if set(found) == {""} and not isinstance(found[""], list):  # callers would take it for a list
        refuse("malformed", f"{name} must have names in its objects, got an empty one alone")
    return found


def is_natural(value: Any, most: int = 1 << 48) -> bool:
    """Whether a value of a JSON file is a whole number of a size that arrays have."""
    return type(value) is int and 0 <= value < most


def is_finite_number(value: Any) -> bool:
    """Whether a value of a JSON file is a finite number that a float holds; its integers may have any length."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and abs(value) <= sys.float_info.max
