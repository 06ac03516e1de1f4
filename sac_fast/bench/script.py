"""The command line of the scripts in benchmarks/."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from ..errors import SacFastError
from ..io.text import escape_text
from .results import write_json
from .run import run_bench
from .show import show_results


def main(op: str, description: str) -> None:
    """Run the cases of one op, print them and, with --json FILE, keep everything.

    Args:
        op: its name.
        description: for --help.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all results to FILE")
    parser.add_argument("--quick", action="store_true", help="small sizes, no targets")
    parser.add_argument("--threads", type=int, help="threads of ours and of the peers; default: 2")
    asked = parser.parse_args()
    if asked.json is not None and not asked.json.parent.is_dir():
        parser.error(f"the folder of --json must exist, got {str(asked.json.parent)!r}")

    def keep(results: dict[str, Any]) -> None:
        if asked.json is not None:
            write_json(results, asked.json)

    try:
        results = run_bench([op], quick=asked.quick, threads=asked.threads, keep=keep)
    except (SacFastError, ValueError, RuntimeError, OSError) as error:
        print(f"{parser.prog}: {type(error).__name__}: {escape_text(error)}", file=sys.stderr)
        sys.exit(1)
    keep(results)
    show_results(results)
