"""Changes of one value somewhere in JSON."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any

_SCALARS = (
    *(None, True, False, 0, -1, 1, 2, 255, 1 << 31, -(1 << 63), 1 << 63, 1 << 64, 10**40, 0.5, -0.0, 1e308, 1e-308),
    *(
        "",
        "x",
        "x" * 5000,
        "\x00",
        "\x1b[2J",
        "\ud800",
        "=1+1",
        "../../x",
        "/dev/zero",
        "0" * 64,
        "F32",
        "torch.nn:Linear",
    ),
    *(float("nan"), float("inf"), [], {}, [[]], {"": {}}, [0] * 3000, {"a": None}),
)
_DEPTHS = (30, 200)


def changed_json(value: Any, random: Random) -> Any:
    """The value with one or a few places in it changed, half of them to what has the same type."""
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        value = _changed(value, random, list(_leaves(value)))
    return value


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, (dict, list)):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _leaves(one)
    else:
        yield value


def _changed(value: Any, random: Random, leaves: list[Any]) -> Any:
    # Every place is as likely as any other: the number of places below decides where to go.
    if not isinstance(value, (dict, list)) or not value or random.randrange(_size(value)) == 0:
        alike = [one for one in (*leaves, *_SCALARS) if type(one) is type(value) and one != value]
        return random.choice(alike) if alike and random.random() < 0.5 else _other(value, random)
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    key = random.choices(keys, [_size(value[one]) for one in keys])[0]
    made: Any = dict(value) if isinstance(value, dict) else list(value)
    # seldom where much lies below, or nearly all changes would end there
    kind = random.random() * min(_size(value[key]), 6)
    if kind < 0.1:
        del made[key]
    elif kind < 0.15 and isinstance(made, dict):
        made[random.choice((key + "x", "", "__metadata__", "\ud800", *keys))] = made[key]
    elif kind < 0.25:
        made[key] = value[random.choice(keys)]
    elif kind < 0.3 and isinstance(made, list):
        made.insert(key, made[key])
    else:
        made[key] = _changed(value[key], random, leaves)
    return made


def _size(value: Any) -> int:
    if isinstance(value, (dict, list)):
        return 1 + sum(_size(one) for one in (value.values() if isinstance(value, dict) else value))
    return 1


def _other(value: Any, random: Random) -> Any:
    kind = random.random()
    if kind < 0.2 and type(value) in (int, float):
        return value + random.choice((-1, 1, 8, -8, 1 << 32))
    if kind < 0.2 and isinstance(value, str) and value:
        at = random.randrange(len(value))
        return value[:at] + random.choice(("", "\x00", "'", '"', "/", "é", "\n", value)) + value[at + 1 :]
    if kind < 0.25:
        for _ in range(random.choice(_DEPTHS)):
            value = [value]
        return value
    if kind < 0.3:
        return str(value)[:200]
    if kind < 0.4:
        return [value, value]
    return random.choice(_SCALARS)
