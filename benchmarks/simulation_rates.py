"""What simulations of answers in other forms report: rates of accusation, and copies of the source that are found."""

from __future__ import annotations

import math
import sys
from argparse import ArgumentParser
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sac_fast.bench.results import write_json


def rate_rows(
    outcomes: Sequence[Mapping[str, Sequence[float]]],
    names: Iterable[str],
    alphas: Sequence[float],
    what: str,
    about: Mapping[str, Any],
) -> list[dict[str, Any]]:
    """Rates with their limits, three standard errors of as many independent outcomes as there are sources.

    Args:
        outcomes: of each source, by name: the share of accused suspects for each α, then whether its copy was found.
        names: whose rows are wanted.
        alphas: stated rates.
        what: key of the name in a row.
        about: what else stands in each row, first.
    """
    rows = []
    for name in names:
        values = np.array([outcome[name] for outcome in outcomes])
        for i, alpha in enumerate(alphas):
            rows.append(
                {
                    **about,
                    what: name,
                    "alpha": alpha,
                    "rate": float(values[:, i].mean()),
                    "standard_error": float(values[:, i].std() / math.sqrt(len(outcomes))),
                    "limit": alpha + 3 * math.sqrt(alpha * (1 - alpha) / len(outcomes)),
                    "copies_found": float(values[:, -1].mean()),
                }
            )
    return rows


def print_rates(rows: Iterable[Mapping[str, Any]], setting: str, what: str) -> None:
    """One line a row."""
    for row in rows:
        found = f"{row['rate']:.4f} ± {row['standard_error']:.4f}, copies {row['copies_found']:.3f}"
        print(f"{setting}, {row[what]}, α = {row['alpha']}: {found}", flush=True)


def write_rates(
    results: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], path: Path, parser: ArgumentParser
) -> int:
    """Write the result, name what is above its limit; the exit code."""
    broken = [row for row in rows if row["rate"] > row["limit"] or row["copies_found"] < 1]
    write_json({**results, "rates": rows, "violations": broken}, path)
    for row in broken:
        print(f"{parser.prog}: above its limit, or a copy not found: {row}", file=sys.stderr)
    return 1 if broken else 0
