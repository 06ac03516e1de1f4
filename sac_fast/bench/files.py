"""What a run leaves behind: JSON with everything, CSV with one line an implementation."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..io.files import atomic_write

RESULTS_JSON = "results.json"
RESULTS_CSV = "results.csv"
_COLUMNS = (
    *("case", "part", "sweep", "op", "metric", "n", "k", "m", "implementation"),
    *("seconds", "rate", "unit", "limit", "fraction", "ratio", "error", "not_timed_because"),
)


def write_json(results: Mapping[str, Any], path: Path) -> None:
    """Write the results as they are.

    Args:
        results: of `run_bench`.
        path: replaced if it is there; its folder must be.
    """
    with atomic_write(path) as handle:
        handle.write(json.dumps(results, indent=1, allow_nan=False).encode() + b"\n")


def write_csv(results: Mapping[str, Any], path: Path) -> None:
    """Write one line for each implementation of each case, those that could not be timed included.

    Args:
        results: of `run_bench`.
        path: replaced if it is there; its folder must be.
    """
    text = io.StringIO(newline="")
    table = csv.DictWriter(text, _COLUMNS, extrasaction="ignore", lineterminator="\n")
    table.writeheader()
    for record in results["records"]:
        for name, entry in record["implementations"].items():
            reason = entry.get("missing") or entry.get("refused")
            table.writerow(record | record["shape"] | entry | {"implementation": name, "not_timed_because": reason})
    with atomic_write(path) as handle:
        handle.write(text.getvalue().encode())
