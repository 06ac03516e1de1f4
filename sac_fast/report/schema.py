"""The part of JSON Schema that `report.schema.json` uses; what reads a report later may rely on it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}
_MAX_INTEGER = (1 << 63) - 1  # of JSON of any length: no arithmetic with floats goes wrong
#: Words of a schema that say nothing of values.
_NOTES = frozenset({"$schema", "$id", "title", "description"})


def check_schema(value: Any, schema: Mapping[str, Any], where: str) -> None:
    """Refuse a JSON value that a schema does not allow.

    Args:
        value: of `json.loads`.
        schema: of the words that `report.schema.json` uses.
        where: what messages call the value.

    Raises:
        ValueError: names the place, what is allowed there and what was got.

    Source: https://json-schema.org/draft/2020-12/json-schema-validation
    """
    for problem in _problems(value, schema, where):
        raise ValueError(problem)


def _problems(value: Any, schema: Mapping[str, Any], where: str) -> Iterator[str]:
    """What is wrong, the first thing first; whoever takes no more than that reads no further."""
    if unknown := schema.keys() - _NOTES.union(*(words for words, _ in _CHECKS)):
        raise NotImplementedError(f"schema must have known words, got {sorted(unknown)}")
    for words, check in _CHECKS:
        if words & schema.keys():
            yield from check(value, schema, where)


def _type(value: Any, schema: Mapping[str, Any], where: str) -> Iterator[str]:
    names = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    # by the type itself: True is an int of Python, and no number of JSON
    if not any(type(value) in _TYPES[name] for name in names):
        yield f"{where} must be {' or '.join(names)}, got {type(value).__name__}"
    elif type(value) is int and not -_MAX_INTEGER <= value <= _MAX_INTEGER:
        yield f"{where} must be a number of at most 64 bits, got a larger one"


def _choices(value: Any, schema: Mapping[str, Any], where: str) -> Iterator[str]:
    allowed = schema.get("enum", [schema["const"]] if "const" in schema else [])
    if value not in allowed:
        yield f"{where} must be one of {', '.join(map(str, allowed))}, got {value!r:.80}"


def _any_of(value: Any, schema: Mapping[str, Any], where: str) -> Iterator[str]:
    found = [next(_problems(value, option, where), None) for option in schema["anyOf"]]
    if None not in found:
        yield str(found[0])


def _range(value: Any, schema: Mapping[str, Any], where: str) -> Iterator[str]:
    low, high = schema.get("minimum", float("-inf")), schema.get("maximum", float("inf"))
    if not low <= value <= high:
        yield f"{where} must be from {low} to {high}, got {value}"


def _pattern(value: Any, schema: Mapping[str, Any], where: str) -> Iterator[str]:
    if not re.fullmatch(schema["pattern"], value):
        yield f"{where} must match {schema['pattern']}, got {value!r:.80}"


def _items(value: Any, schema: Mapping[str, Any], where: str) -> Iterator[str]:
    if len(value) < schema.get("minItems", 0):
        yield f"{where} must have at least {schema['minItems']} items, got {len(value)}"
    for index, item in enumerate(value):
        yield from _problems(item, schema["items"], f"{where}[{index}]")


def _properties(value: Any, schema: Mapping[str, Any], where: str) -> Iterator[str]:
    if missing := [name for name in schema.get("required", ()) if name not in value]:
        yield f"{where} must have {', '.join(missing)}, got none"
    known, others = schema.get("properties", {}), schema.get("additionalProperties", True)
    for name, item in value.items():
        if type(name) is not str:  # written as JSON it would be another text; a hash of sorted names ends by TypeError
            yield f"{where} must have names that are texts, got {name!r:.80}"
        elif name in known:
            yield from _problems(item, known[name], f"{where}.{name}")
        elif others is False:
            yield f"{where} must have no {name!r:.80}, got one"
        elif others is not True:
            yield from _problems(item, others, f"{where}[{name!r:.80}]")


# In the order of checking: those after the type rely on it.
_CHECKS: tuple[tuple[frozenset[str], Callable[[Any, Mapping[str, Any], str], Iterator[str]]], ...] = (
    (frozenset({"type"}), _type),
    (frozenset({"enum", "const"}), _choices),
    (frozenset({"anyOf"}), _any_of),
    (frozenset({"minimum", "maximum"}), _range),
    (frozenset({"pattern"}), _pattern),
    (frozenset({"items", "minItems"}), _items),
    (frozenset({"required", "properties", "additionalProperties"}), _properties),
)
