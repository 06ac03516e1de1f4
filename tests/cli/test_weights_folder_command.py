"""`sac-fast weights FOLDER`."""

import json

import numpy as np
import pytest
import torch

import sac_fast


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Two families of two, a copy with equal arrays, a stranger, a damaged file and a link that leads out."""
    monkeypatch.chdir(tmp_path)
    models = tmp_path / "models"
    models.mkdir()
    for name, seed in (("a", 0), ("c", 1), ("stranger", 2)):
        rng = np.random.default_rng(seed)
        sizes = [(32, 27), (48, 32), (64, 48), (10, 64)]
        state = {f"{i}.weight": torch.from_numpy(rng.normal(size=size)).float() for i, size in enumerate(sizes)}
        sac_fast.save_weights(models / f"{name}.safetensors", state)
        if name == "a":
            torch.save({key: value.half() for key, value in state.items()}, models / "a-half.pt")
            (models / "sub").mkdir()
            sac_fast.save_weights(models / "sub" / "again.safetensors", state)
        if name == "c":
            pruned = {key: value * (value.abs() > 1) for key, value in state.items()}
            sac_fast.save_weights(models / "c-pruned.safetensors", pruned)
    (models / "damaged.safetensors").write_bytes((models / "a.safetensors").read_bytes()[:200])
    (tmp_path / "outside.safetensors").write_bytes((models / "a.safetensors").read_bytes())
    (models / "link.safetensors").symlink_to(tmp_path / "outside.safetensors")
    return models


def test_pairs_groups_copies_and_failures_are_printed(folder, run):
    code, out, err = run("weights", "models")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert "group 1: a-half.pt, a.safetensors, sub/again.safetensors" in lines
    assert "group 2: c-pruned.safetensors, c.safetensors" in lines
    assert "same weights: a.safetensors, sub/again.safetensors" in lines
    assert "a-half.pt is the copy: a shorter dtype" in out
    assert "c-pruned.safetensors is the copy: pruned" in out
    failed = [line for line in lines if line.startswith("failed: ")]
    assert [line.split(": ")[1] for line in failed] == ["damaged.safetensors", "link.safetensors"]
    assert not any("stranger" in line for line in lines)


def test_json_and_a_cache_from_which_a_search_goes_on(folder, run, monkeypatch):
    code, out, _ = run("weights", "models", "--json", "--cache", "kept.sqlite", "--alpha", "0.01", "--quiet")
    first = json.loads(out)
    assert code == 0
    assert (first["models"], first["tests"], len(first["pairs"]), first["alpha"]) == (6, 15, 2, 0.01)
    assert all(pair["p_holm"] < 1e-6 for pair in first["pairs"])

    def refuse(*_):
        raise AssertionError("read again")

    for name in ("sketch_weights", "_judge"):
        monkeypatch.setattr(f"sac_fast.lineage.weights_relatives.{name}", refuse)
    assert json.loads(run("weights", "models", "--json", "--cache", "kept.sqlite", "--alpha", "0.01")[1]) == first


def test_options_of_the_other_form_are_refused(folder, run):
    for arguments, option in (
        (("models", "--plot", "layers.png"), "--plot"),
        (("models", "--architecture", "x:y"), "--architecture"),
        (("models/a.safetensors",), "A"),
        (("models/a.safetensors", "models/c.safetensors", "--cache", "kept.sqlite"), "--cache"),
    ):
        code, _, err = run("weights", *arguments)
        assert (code, f"Invalid value for {option}:" in err) == (2, True), err
    (folder.parent / "other.sqlite").write_bytes(b"no database" * 100)
    code, out, err = run("weights", "models", "--cache", "other.sqlite")
    assert (code, out, len(err.splitlines())) == (1, "", 1)
