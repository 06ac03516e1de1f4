"""What all makers of hostile files share."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

Maker = Callable[[Path], None]


def marker(folder: Path) -> Path:
    """What a payload makes when it is run; its name is hidden, so that no scan lists it."""
    return folder / ".marker-of-a-payload"


class Payload:
    """Pickles to a call that makes the marker."""

    def __init__(self, folder: Path) -> None:
        self.path = str(marker(folder))

    def __reduce__(self) -> Any:
        return os.mkdir, (self.path,)


def fixed_bytes(content: bytes) -> Maker:
    return lambda path: path.write_bytes(content) and None


def flipped(content: bytes, position: int) -> bytes:
    return content[:position] + bytes([content[position] ^ 0xFF]) + content[position + 1 :]
