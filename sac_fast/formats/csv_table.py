"""Recorded outputs as text: one line a probe, numbers with commas between them, at most one line of names."""

from __future__ import annotations

import array
import codecs
import io
import math
import re
from typing import BinaryIO

import torch

from .limits import MAX_CSV_BYTES, MAX_CSV_COLUMNS, Limits, refuse

# No two ways to read the same digits: a cell of a megabyte of them, and a letter, would be tried in all.
_NUMBER = re.compile(r"\s*[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?\s*|\s*[+-]?(nan|inf|infinity)\s*", re.IGNORECASE)


def looks_like_csv(head: bytes) -> bool:
    """Whether the first bytes are text, of which the first or the second line holds numbers only."""
    lines = head.removeprefix(codecs.BOM_UTF8).splitlines()[:2]
    if not lines or any(byte < 32 and byte not in b"\t\r\n" for byte in head):
        return False
    return any(_all_numbers(line, cut=len(head) == 4096 and line is lines[-1]) for line in lines)


def _all_numbers(line: bytes, cut: bool) -> bool:
    parts = line.decode("ascii", "replace").split(",")
    return all(_NUMBER.fullmatch(part) for part in (parts[:-1] if cut and len(parts) > 1 else parts))


def read_csv(handle: BinaryIO, name: str, limits: Limits) -> torch.Tensor:
    """Read float64 ``(n, k)``.

    Raises:
        ModelRefusedError: too large, other text, or lines of different lengths.
    """
    handle.seek(0)
    most = min(MAX_CSV_BYTES, limits.max_file_bytes)
    text = handle.read(most + 1)
    if len(text) > most:
        refuse("too-large", f"{name} must have at most {most:,} bytes of text, got more; .npy files may be larger")
    limits.check_tensor(name, "CSV", 8 * (text.count(b",") + text.count(b"\n") + 1), 0)
    values, columns = array.array("d"), 0
    lines = io.BytesIO(text)
    lines.seek(len(codecs.BOM_UTF8) if text.startswith(codecs.BOM_UTF8) else 0)
    wanted = f"{name} must hold numbers with commas between them, got"
    for number, line in enumerate(map(bytes.strip, lines), 1):
        if not line:
            continue
        if line.count(b",") >= MAX_CSV_COLUMNS:
            refuse("too-large", f"{name} must have at most {MAX_CSV_COLUMNS:,} columns, got more in line {number}")
        if number == 1 and not _all_numbers(line, cut=False):
            continue  # names of the columns
        if b"_" in line:  # Python reads 1_0 as 10
            refuse("not-numbers", f"{wanted} '_' in line {number}")
        try:
            row = [float(part) for part in line.split(b",")]
        except ValueError as error:
            refuse("not-numbers", f"{wanted} line {number}: {error}", error)
        if values and len(row) != columns:
            refuse("wrong-shape", f"{name} must have {columns} columns as before, got {len(row)} in line {number}")
        if not all(map(math.isfinite, row)):
            refuse("not-finite", f"{name} must hold finite numbers, got NaN or Inf in line {number}")
        columns = len(row)
        values.extend(row)
    if not values:
        refuse("empty", f"{name} must hold recorded outputs, got no line of numbers")
    return torch.frombuffer(values, dtype=torch.float64).reshape(-1, columns)
