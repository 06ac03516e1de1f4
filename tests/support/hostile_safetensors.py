"""Hostile safetensors files."""

from __future__ import annotations

import json
import struct
from typing import Any

from .hostile import Maker, fixed_bytes


def safetensors_file(header: bytes | dict[str, Any], data: bytes = b"", length: int | None = None) -> bytes:
    """A safetensors file with any header."""
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw) if length is None else length) + raw + data


def _entry(start: int, stop: int, shape: Any = None, dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": [(stop - start) // 4] if shape is None else shape, "data_offsets": [start, stop]}


def safetensors_files() -> dict[str, tuple[str, Maker]]:
    one = json.dumps(_entry(0, 8))
    cases: dict[str, tuple[str, bytes]] = {
        "duplicate-keys": ("duplicate-keys", safetensors_file(f'{{"a": {one}, "a": {one}}}'.encode(), bytes(8))),
        "duplicate-escaped": (
            "duplicate-keys",
            safetensors_file(f'{{"a": {one}, "\\u0061": {one}}}'.encode(), bytes(8)),
        ),
        "duplicate-field": (
            "duplicate-keys",
            safetensors_file(
                b'{"a": {"dtype": "F32", "dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}', bytes(8)
            ),
        ),
        "duplicate-metadata": (
            "duplicate-keys",
            safetensors_file(f'{{"__metadata__": {{}}, "__metadata__": {{}}, "a": {one}}}'.encode(), bytes(8)),
        ),
        "overlap": ("overlap", safetensors_file({"a": _entry(0, 8), "b": _entry(4, 12)}, bytes(12))),
        "shared": ("overlap", safetensors_file({"a": _entry(0, 8), "b": _entry(0, 8)}, bytes(8))),
        "gap": ("gap", safetensors_file({"a": _entry(0, 8), "b": _entry(12, 20)}, bytes(20))),
        "gap-first": ("gap", safetensors_file({"a": _entry(4, 8)}, bytes(8))),
        "tail": ("gap", safetensors_file({"a": _entry(0, 8)}, bytes(9))),
        "truncated": ("truncated", safetensors_file({"a": _entry(0, 8)}, bytes(7))),
        "truncated-header": ("truncated", safetensors_file({"a": _entry(0, 8)}, bytes(8))[:40]),
        "long-header": ("too-large", safetensors_file(b"{}", length=1 << 39)),
        "negative": ("malformed", safetensors_file({"a": _entry(0, 8, [-2])}, bytes(8))),
        "backwards": ("malformed", safetensors_file({"a": _entry(8, 0, [2])}, bytes(8))),
        "empty-overflow": ("malformed", safetensors_file({"a": _entry(0, 0, [0, 1 << 62, 4])})),
        "lying-shape": ("malformed", safetensors_file({"a": _entry(0, 8, [3])}, bytes(8))),
        "overflow": ("too-large", safetensors_file({"a": _entry(0, 0, [1 << 32, 1 << 32])})),
        "huge": ("too-large", safetensors_file({"a": _entry(0, 1 << 45)})),
        "float-shape": ("malformed", safetensors_file({"a": _entry(0, 8, [2.0])}, bytes(8))),
        "bool-shape": ("malformed", safetensors_file({"a": _entry(0, 4, [True])}, bytes(4))),
        "dtype": ("not-dense", safetensors_file({"a": _entry(0, 8, [2], "F33")}, bytes(8))),
        "field": ("malformed", safetensors_file({"a": {**_entry(0, 8), "more": 1}}, bytes(8))),
        "json": ("malformed", safetensors_file(b'{"a": {"dtype": "F32"', bytes(8))),
        "deep": ("malformed", safetensors_file(b'{"a": ' + b"[" * 100_000, bytes(8))),
        "deep-metadata": ("malformed", safetensors_file(b'{"__metadata__": {"a": ' + b"[" * 100_000, bytes(8))),
        "not-utf8": ("malformed", safetensors_file(b'{"\xff": {}}', bytes(8))),
        "surrogate": ("malformed", safetensors_file(f'{{"\\ud800": {one}}}'.encode(), bytes(8))),
        "after-the-end": ("malformed", safetensors_file(f'{{"a": {one}}} {{}}'.encode(), bytes(8))),
        "many": ("too-many-tensors", safetensors_file({f"{i}": _entry(0, 0, [0]) for i in range(50_001)})),
        "hash": (
            "damaged",
            safetensors_file(
                {"__metadata__": {"sac_fast.weights_hash": "sha256:" + "0" * 64}, "a": _entry(0, 8)}, bytes(8)
            ),
        ),
        "nan-outputs": ("not-finite", safetensors_file({"outputs": _entry(0, 8, [2, 1])}, b"\xff" * 8)),
        "wrong-outputs": ("wrong-shape", safetensors_file({"outputs": _entry(0, 8, [2, 1, 1])}, bytes(8))),
    }
    return {f"st-{name}.safetensors": (reason, fixed_bytes(content)) for name, (reason, content) in cases.items()}
