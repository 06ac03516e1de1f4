"""Processes of gpu_check.py: one for each check and case, so that a fault or a hang of a kernel stays in it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

Row = dict[str, Any]
SCRIPT = Path(__file__).with_name("gpu_check.py")


def run(command: list[str], limit: float) -> tuple[int | str, list[str]]:
    """Exit code of a command, or that it was ended after `limit` seconds, and the lines that it printed."""
    with tempfile.TemporaryFile("w+", errors="replace") as output:
        # a group of its own: what it started ends with it, and keeps no pipe open
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            rc: int | str = process.wait(limit)
        except subprocess.TimeoutExpired:
            rc = f"ended after {limit:g} s"
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        output.seek(0)
        return rc, output.read().strip().splitlines()


def run_part(name: str, arguments: list[str], limit: float) -> tuple[list[Row], str | None]:
    """Rows of a check or case, measured in a process of its own, and why it did not come to its end, if it did not.

    Args:
        name: of the check or case.
        arguments: further ones of gpu_check.py.
        limit: seconds after which it is ended.
    """
    with tempfile.TemporaryDirectory() as folder:
        kept = Path(folder) / "rows"
        rc, printed = run([sys.executable, str(SCRIPT), "--part", name, "--rows", str(kept), *arguments], limit)
        lines = kept.read_text().split("\n")[:-1] if kept.exists() else []  # the last may be half written
    rows = [json.loads(line) for line in lines]
    if rc == 0:
        return rows, None
    behind = rows[-1]["case"] if rows else "the start"
    return rows, f"{rc if isinstance(rc, str) else f'exit code {rc}'} behind {behind}: {' | '.join(printed[-3:])}"


def measure_part(make: Callable[[], Iterable[Row]], kept: Path) -> None:
    """Write the rows of a check or case as they come, a line each: what runs in the process of a part."""
    with kept.open("w") as file:
        for row in make():
            file.write(json.dumps(row) + "\n")
            file.flush()
