"""Run a command of sac_fast that writes JSON, and keep it as a result, with commit, hardware and versions.

    python benchmarks/record_command.py --from sac-fast-demo/results.json --json benchmarks/results/demo.json \
        -- sac-fast demo
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import time
from pathlib import Path

import torch

from sac_fast.bench.results import start_result, write_json


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--from", dest="written", type=Path, required=True, metavar="FILE", help="what it writes")
    parser.add_argument("--json", type=Path, required=True, metavar="FILE", help="the result")
    parser.add_argument("command", nargs="+", help="after --")
    asked = parser.parse_args()
    if not asked.json.parent.is_dir():
        parser.error(f"the folder of --json must exist, got {str(asked.json.parent)!r}")
    result = start_result("sac_fast command", torch.get_num_threads())
    start = time.perf_counter()
    code = subprocess.run(asked.command, check=False).returncode
    if code:
        print(f"{parser.prog}: {asked.command[0]} ended with exit code {code}", file=sys.stderr)
        return 1
    seconds = time.perf_counter() - start
    found = json.loads(asked.written.read_text())
    # the command's own fields stay readable; those of every result win
    write_json(
        found
        | result
        | {"kind": found.get("kind", result["kind"]), "seconds": seconds, "command": shlex.join(asked.command)},
        asked.json,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
