"""What is read as a claim of a model's origin."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

import sac_fast


def claims_of(folder: Path, name: str = "model.safetensors", metadata: dict[str, str] | None = None) -> dict[str, Any]:
    safetensors.torch.save_file({"a.weight": torch.ones(2, 2)}, folder / name, metadata)
    with sac_fast.open_weights(folder / name) as opened:
        return opened.claims


@pytest.mark.parametrize(
    ("card", "models"),
    [
        ("---\nbase_model: me/base\n---\ntext", ["me/base"]),
        ("---\nlicense: mit\nbase_model: 'me/base' \ntags:\n- a\n---\n", ["me/base"]),
        ('---\nbase_model:\n- me/one\n- "me/two"\ntags:\n- three\n---\n', ["me/one", "me/two"]),
        ("---\nbase_model: [me/one, me/two]\n---\n", ["me/one", "me/two"]),
        ("---\nbase_model: me/base # the first\n---\n", ["me/base"]),
        ("---\ntags: x\n---\nbase_model: me/base\n", []),
        ("base_model: me/base\n", []),
        ("", []),
    ],
)
def test_model_cards(tmp_path: Path, card: str, models: list[str]) -> None:
    (tmp_path / "README.md").write_text(card)
    found = claims_of(tmp_path)["base_models"]
    assert [model["name"] for model in found] == models
    assert all(model["source"] == "README.md" for model in found)


def test_the_relation_in_a_card(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("---\nbase_model: me/base\nbase_model_relation: quantized\n---\n")
    assert claims_of(tmp_path)["base_models"] == [
        {"name": "me/base", "relation": "quantized", "source": "README.md"},
    ]


def test_configurations_and_metadata(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"_name_or_path": "me/first", "layers": 3}))
    (tmp_path / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "me/second"}))
    found = claims_of(tmp_path, "chgnet_r2scan.safetensors", {"base_model": "me/third", "format": "pt"})
    assert {(model["name"], model["source"]) for model in found["base_models"]} == {
        *(("me/first", "config.json"), ("me/second", "adapter_config.json"), ("me/third", "metadata")),
    }
    assert found["names"] == ["chgnet_r2scan", tmp_path.name]
    assert found["metadata"] == {"base_model": "me/third", "format": "pt"}


def test_claims_are_bounded_and_escaped(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("---\nbase_model:\n" + "- \x1b[31mred\n" + "- x\n" * 1000 + "---\n")
    (tmp_path / "config.json").write_text("{" + "[" * 100_000)
    (tmp_path / "adapter_config.json").mkdir()
    metadata = {f"key {number}": "y" * 5000 for number in range(200)}
    found = claims_of(tmp_path, metadata=metadata)
    assert found["base_models"][0]["name"] == "\\x1b[31mred"
    assert len(found["base_models"]) <= 64
    assert len(found["metadata"]) == 64
    assert max(map(len, found["metadata"].values())) == 200
