"""Checkpoints in several files with an index."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import safetensors.torch
import torch

import sac_fast
from sac_fast.errors import ModelRefusedError


def sharded(folder: Path) -> Path:
    """Two files and an index."""
    safetensors.torch.save_file({"a.weight": torch.ones(2, 3)}, folder / "one.safetensors")
    torch.save({"b.weight": torch.full((2, 3), 2.0)}, folder / "two.bin")
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"b.weight": "two.bin", "a.weight": "one.safetensors"}}))
    return index


def test_checkpoints_in_several_files(tmp_path: Path) -> None:
    index = sharded(tmp_path)
    assert sac_fast.identify(index) == "sharded"
    for path in (index, tmp_path):
        with sac_fast.open_weights(path) as opened:
            found = {array.name: float(array.read().mean()) for array in opened.arrays}
        assert list(found.items()) == [("b.weight", 2.0), ("a.weight", 1.0)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"weight_map": {"a.weight": "one.safetensors"', "malformed"),
        ('{"weight_map": {"a.weight": "one.safetensors", "c": "one.safetensors"}}', "truncated"),
        ('{"weight_map": {"a.weight": "two.bin", "b.weight": "two.bin"}}', "truncated"),
        ('{"weight_map": {"a.weight": "two.bin"}}', "malformed"),
        ('{"weight_map": {"a.weight": "one.safetensors", "a.weight": "two.bin"}}', "duplicate-keys"),
        ('{"weight_map": {"a.weight": "none.bin"}}', "external-data"),
        ('{"weight_map": {"a.weight": "../one.safetensors"}}', "external-data"),
        ('{"weight_map": []}', "malformed"),
        ('{"weight_map": ' + "[" * 100_000 + "}", "malformed"),
        ('{"weight_map": [' + "{}," * 600_000 + "0]}", "too-large"),
    ],
)
def test_hostile_indices(tmp_path: Path, text: str, expected: str) -> None:
    index = sharded(tmp_path)
    index.write_text(text)
    with pytest.raises(ModelRefusedError) as caught:
        sac_fast.open_weights(index)
    assert caught.value.reason == expected
