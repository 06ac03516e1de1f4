"""The types of JSON from others, checked once, where a file is loaded: what reads it later may rely on them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MAX_DEPTH = 24  # of objects and lists inside each other

#: A type or several, ``[schema]`` of every item of a list, or a mapping from keys, all of which may be missing; another
#: key of an object may hold anything.
Schema = Any


def check_types(value: Any, schema: Schema, where: str) -> None:
    """Refuse a JSON value of other types than a schema says.

    Args:
        value: of `json.loads`.
        schema: see `Schema`.
        where: what messages call the value.

    Raises:
        ValueError: names the place, the type wanted and the type found.
    """
    if isinstance(schema, Mapping):
        _check_type(value, (dict,), where)
        for key, inner in schema.items():
            if key in value:
                check_types(value[key], inner, f"{where}.{key}")
    elif isinstance(schema, list):
        _check_type(value, (list,), where)
        for index, item in enumerate(value):
            check_types(item, schema[0], f"{where}[{index}]")
    else:
        _check_type(value, schema if isinstance(schema, tuple) else (schema,), where)


def check_depth(value: Any, where: str, max_depth: int = MAX_DEPTH) -> None:
    """Refuse objects and lists that are nested deeper than anything of ours, before anything recurses into them.

    Args:
        value: of `json.loads`.
        where: what messages call the value.
        max_depth: of objects and lists inside each other.

    Raises:
        ValueError: they are.
    """
    level = [value]
    for _ in range(max_depth):
        level = [
            inner
            for item in level
            if isinstance(item, (dict, list))
            for inner in (item.values() if isinstance(item, dict) else item)
            if isinstance(inner, (dict, list))
        ]
        if not level:
            return
    raise ValueError(f"{where} must be nested at most {max_depth} deep, got more")


def _check_type(value: Any, types: tuple[type, ...], where: str) -> None:
    # True is an int of Python, and no number of JSON.
    if type(value) not in types and not (float in types and type(value) is int):
        names = " or ".join("null" if one is type(None) else one.__name__ for one in types)
        raise ValueError(f"{where} must be {names}, got {type(value).__name__}")
