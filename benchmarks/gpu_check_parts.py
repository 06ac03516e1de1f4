"""Processes of gpu_check.py: one for each check and case, so that a fault or a hang of a kernel stays in it."""

from __future__ import annotations

import contextlib
import json
import math
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
# The process that runs, and whether this one was told to end.
_state: dict[str, Any] = {"process": None, "ended": False}


def end_on_signal() -> None:
    """On SIGTERM and SIGINT end the process that runs: its rows are kept, and `is_ended` says to begin no other."""

    def end(*_: object) -> None:
        _state["ended"] = True
        if _state["process"] is not None:
            kill_group(_state["process"])

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)


def is_ended() -> bool:
    return bool(_state["ended"])


def kill_group(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def run(command: list[str], limit: float) -> tuple[int | str, list[str]]:
    """Exit code of a command, or that it was ended after `limit` seconds, and the lines that it printed."""
    with tempfile.TemporaryFile("w+", errors="replace") as output:
        # a group of its own: what it started ends with it, and keeps no pipe open
        streams: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": output, "stderr": subprocess.STDOUT}
        process = subprocess.Popen(command, **streams, start_new_session=True, text=True)
        _state["process"] = process
        if is_ended():  # told so while it started
            kill_group(process)
        try:
            rc: int | str = process.wait(limit)
        except subprocess.TimeoutExpired:
            rc = f"ended after {limit:g} s"
        finally:
            kill_group(process)
            process.wait()
            _state["process"] = None
        if is_ended():
            rc = "ended by a signal"
        output.seek(0)
        return rc, output.read().strip().splitlines()


def finite(row: Row) -> Row:
    """The row with texts in place of NaN and infinities, which JSON does not have."""
    return {
        name: str(value) if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in row.items()
    }


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
    rows = [finite(json.loads(line)) for line in lines]
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
