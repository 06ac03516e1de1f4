"""Distillation of a published network: what is compared, and that a stopped training goes on as if it had not been."""

import argparse

import bench_distillation
import numpy as np
import pytest
import torch
from PIL import Image
from pretrained import photographs
from torch import nn


def test_changes_of_a_photograph():
    images = np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3), dtype=np.uint8)
    moved = bench_distillation.SELF["shifted by 4 pixels"](images)
    assert moved.shape == images.shape
    assert np.array_equal(moved[:, 4:, 4:], images[:, :-4, :-4])
    # numpy's "reflect" does not repeat the border
    assert np.array_equal(moved[:, 3, 4:], images[:, 1, :-4])
    assert np.array_equal(bench_distillation.SELF["mirrored"](images)[..., ::-1, :], images)
    smooth = np.repeat(np.linspace(0, 255, 224).astype(np.uint8), 224 * 3).reshape(1, 224, 224, 3)
    errors = [np.abs(bench_distillation.jpeg(smooth, q).astype(int) - smooth).mean() for q in (75, 15)]
    assert 0 < errors[0] < errors[1] < 10


def cutter():
    """Four photographs of one colour each and four stamps, by turns of the thief's side and of the probes'."""
    draw = np.random.default_rng(1)
    pictures = [draw.integers(60 * i, 60 * i + 60, (240, 260, 3)).astype(np.uint8) for i in range(4)]
    stamps = [(f"kind-{i}", Image.new("RGBA", (70, 70), (255, 60 * i, 0, 255))) for i in range(4)]
    sides = np.array([2, 0, 2, 0])
    return photographs._Cutter(pictures, stamps, sides, sides)


def test_new_crops_are_of_the_thiefs_side_and_seeded(monkeypatch):
    monkeypatch.setattr(photographs, "_cutter", lambda folder, seed: cutter())
    made = photographs.crops("folder", 12, (0, 2, 7))
    assert (made.shape, made.dtype) == ((12, 224, 224, 3), np.uint8)
    assert np.array_equal(made, photographs.crops("folder", 12, (0, 2, 7)))
    assert not np.array_equal(made, photographs.crops("folder", 12, (0, 2, 8)))
    # every third is a piece of a photograph alone, of the first or third one
    alone = [image[..., 0].mean() for image in made[2::3]]
    assert all(0 < mean < 60 or 120 < mean < 180 for mean in alone)
    greens = {int(image[..., 1][(image[..., 0] == 255) & (image[..., 2] == 0)].max()) for image in made[::3]}
    assert greens <= {0, 120}


class Tiny(nn.Module):
    def __init__(self, seed):
        super().__init__()
        torch.manual_seed(seed)
        self.body = nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(48, 10))

    def forward(self, x):
        return self.body(x)


@pytest.fixture
def tiny(monkeypatch):
    seeds = {"lite0": 0, "lite1": 1, "lite2": 2}
    draw = np.random.default_rng(3)
    pictures = draw.integers(0, 256, (40, 224, 224, 3), dtype=np.uint8) // 2 + 64
    monkeypatch.setattr(bench_distillation, "load_source", lambda name: Tiny(seeds[name]))
    monkeypatch.setattr(bench_distillation, "crops", lambda folder, count, seed, sides: pictures[:count].copy())
    return pictures


def asked(steps, learning_rate=0.05):
    return argparse.Namespace(steps=steps, learning_rate=learning_rate, seed=0)


def test_a_stopped_training_goes_on_where_it_was(tiny, tmp_path):
    held_out = bench_distillation.to_inputs(tiny)
    whole = bench_distillation.Distillation("lite1", tmp_path / "whole.pt", asked(40), held_out)
    whole.run(tmp_path, np.inf)
    assert [row["images"] for row in whole.curve] == [0, 480, 640]
    assert whole.curve[-1]["divergence"] < 0.5 * whole.curve[0]["divergence"]
    part = bench_distillation.Distillation("lite1", tmp_path / "part.pt", asked(40), held_out)
    part.run(tmp_path, 0)
    assert part.done == 0
    for _ in range(20):
        part._step(tmp_path)
    part._keep()
    again = bench_distillation.Distillation("lite1", tmp_path / "part.pt", asked(40), held_out)
    assert again.done == 20
    again.run(tmp_path, np.inf)
    for key, value in whole.student.state_dict().items():
        assert torch.equal(again.student.state_dict()[key], value)
    with pytest.raises(ValueError, match=r"part.pt must be of this training, got .*'steps': 40"):
        bench_distillation.Distillation("lite1", tmp_path / "part.pt", asked(30), held_out)


def test_ceilings_name_the_other_networks_and_the_changes(tiny):
    rows = bench_distillation.ceilings("lite1", tiny)
    assert [row["compared"] for row in rows[:2]] == ["lite0, as published", "lite2, as published"]
    inputs = bench_distillation.to_inputs(tiny)
    with torch.no_grad():
        share = (Tiny(0)(inputs).argmax(1) == Tiny(1)(inputs).argmax(1)).double().mean()
    assert rows[0]["agreement"] == pytest.approx(float(share))
    assert len(rows) == 2 + len(bench_distillation.SELF)
    assert all(0 <= row["agreement"] <= 1 for row in rows)


def test_nonsense_is_refused(tmp_path, capsys):
    for options in (["--steps", "0"], ["--learning-rate", "0"], ["--json", str(tmp_path / "no" / "x.json")]):
        with pytest.raises(SystemExit):
            bench_distillation.parse([str(tmp_path), "--json", str(tmp_path / "x.json"), *options])
        assert "must" in capsys.readouterr().err
