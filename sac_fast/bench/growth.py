"""How times grow with n, k and m: exponents of power laws through the larger sizes of each sweep."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

# Small sizes show the cost of a call, not how the work grows.
_SHARE = 0.5
_MIN_POINTS = 2


def growth_exponents(records: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Slopes of log(seconds) against log(size), by least squares through the larger half of the sizes, two at least.

    Args:
        records: of `measure`; those without a sweep are passed over.

    Returns:
        By the letter of the sweep, then by implementation; without those that were timed at fewer than two sizes.
    """
    times: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for record in records:
        letter = record["sweep"]
        if letter is None:
            continue
        for name, entry in record["implementations"].items():
            if "seconds" in entry:
                found = times.setdefault(letter, {}).setdefault(name, [])
                found.append((float(record["shape"][letter]), entry["seconds"]))
    return {
        letter: {name: _slope(points) for name, points in by_name.items() if len(points) >= _MIN_POINTS}
        for letter, by_name in times.items()
    }


def _slope(points: list[tuple[float, float]]) -> float:
    used = sorted(points)[-max(_MIN_POINTS, round(len(points) * _SHARE)) :]
    sizes, seconds = np.log(np.array(used)).T
    centred = sizes - sizes.mean()
    return float(centred @ seconds / (centred @ centred))
