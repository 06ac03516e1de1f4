"""What the system says of a process's memory."""

from __future__ import annotations

import contextlib


def status_bytes(field: str, pid: int | str = "self") -> int:
    """A number of bytes in ``/proc/<pid>/status``, such as ``"RssAnon"``; 0 if the process has ended."""
    with contextlib.suppress(OSError, ValueError), open(f"/proc/{pid}/status", "rb") as handle:
        for line in handle:
            if line.startswith(f"{field}:".encode()):
                return int(line.split()[1]) * 1024
    return 0
