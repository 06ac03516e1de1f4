"""What benchmarks/gpu_run.sh ends with: what its parts came to, and the exit code by it.

    python benchmarks/gpu_run_summary.py FOLDER

Exit code: 0 all checks were made and are right, and compute-sanitizer found nothing; 1 something is wrong or missing;
2 the module was not built or does not load; 3 a signal ended the run, and nothing was wrong before. Times decide
nothing. Needs no torch: it has to work where nothing else does.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

Row = dict[str, Any]
SIGNAL = "signal"


def read(folder: Path) -> tuple[list[Row], Row]:
    """The parts, and the record of gpu_check.py; it is empty where there is none."""
    parts = [json.loads(line) for line in (folder / "parts.jsonl").read_text().splitlines()]
    try:
        record = json.loads((folder / "gpu_check.json").read_text())
    except (OSError, ValueError):
        record = {}
    return parts, record


def faults(parts: list[Row], record: Row) -> list[str]:
    """What is wrong or missing among the results."""
    checks, made = record.get("checks", []), record.get("parts", {}).get("checks", [])
    found = [f"{row['case']}: {row.get('missing') or error_of(row)}" for row in checks if not row["ok"]]
    reached = {part["part"] for part in made}
    planned = record.get("planned", {}).get("checks", [])
    found += [f"{name}: not reached" for name in planned if name not in reached]
    found += [f"{part['part']}: no result" for part in made if not part["rows"]]
    if not planned:
        found.append("no check was made")
    for name, answer in record.get("sanitizer", {}).items():
        if isinstance(answer, dict) and isinstance(answer["rc"], int) and answer["rc"]:
            found.append(f"{name}: exit code {answer['rc']}")
    return found


def error_of(row: Row) -> str:
    return f"error {row.get('error')}, allowed {row.get('tolerance')}"


def exit_code(parts: list[Row], found: list[str]) -> int:
    if any(part["part"] in ("build", "load") and part["rc"] not in (0, SIGNAL) for part in parts):
        return 2
    if not any(part["rc"] == SIGNAL for part in parts):
        return 1 if found else 0
    # what a signal kept from being made is no fault of the kernels
    left_out = ("not reached", "no check was made", "ended by a signal")
    return 1 if any(not any(text in fault for text in left_out) for fault in found) else 3


def main() -> int:
    parts, record = read(Path(sys.argv[1]))
    found = faults(parts, record)
    checks = record.get("checks", [])
    if not record.get("ran_on_gpu", False):
        print("NO GPU RAN THIS: none of these is a figure of a GPU")
    print(f"{sum(row['ok'] for row in checks)} of {len(checks)} results right", *found[:20], sep="\n  ")
    for part in parts:
        if part["rc"] != 0:
            print(f"part {part['part']}: {part['rc']} after {part['seconds']} s, see {part['part']}.log")
    return exit_code(parts, found)


if __name__ == "__main__":
    sys.exit(main())
