"""The same weights as several files are one model and one null."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.corpus import Net

from sac_fast import ProbeSet, save_weights

NULLS = 10


def test_two_files_of_the_same_weights_are_one_null(tmp_path: Path, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ProbeSet.from_arrays(np.random.default_rng(0).integers(0, 256, (40, 2, 2, 3), np.uint8)).save("probes")
    lines = ["path,architecture,tags"]
    for number in range(NULLS + 1):
        torch.manual_seed(number)
        net = Net()
        with torch.no_grad():
            net.linear.bias.mul_(0)
        tag = "independent" if number else ""
        save_weights(f"{number}.safetensors", net)
        torch.save(net.state_dict(), f"{number}.bin")
        torch.save({"state_dict": net.state_dict()}, f"{number}.pth", _use_new_zipfile_serialization=False)
        kept = (".safetensors", ".bin", ".pth") if number else (".safetensors",)
        lines += [f"{number}{end},support.corpus:Net,{tag}" for end in kept]
    with torch.no_grad():
        torch.manual_seed(0)
        net = Net()
        net.linear.bias.mul_(0)
        net.linear.weight.add_(0.01 * torch.randn(3, 12))
    save_weights("suspect.safetensors", net)
    Path("zoo.csv").write_text("\n".join([*lines, "suspect.safetensors,support.corpus:Net,"]) + "\n")
    code, _, err = run("scan", "zoo.csv", "--probes", "probes", "--store", "s", "--workers", "1", "-q")
    assert code == 0, err
    code, out, err = run(
        "relatives", "s", "--name", "suspect.safetensors", "--among", "0.safetensors", "--no-weights", "--json", "-q"
    )
    assert code == 0, err
    (relative,) = json.loads(out)["relatives"]["suspect.safetensors"]
    assert relative["name"] == "0.safetensors"
    # 10 models are 10 nulls: p = 1 / 11. As 30 files they would give 1 / 31.
    assert relative["p_value"] == pytest.approx(0.0909, abs=5e-5)
