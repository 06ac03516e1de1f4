"""`sac-fast weights`."""

import json

import numpy as np
import pytest
import torch

import sac_fast


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Two files of one origin and a third one."""
    monkeypatch.chdir(tmp_path)
    for name, seed in (("a", 0), ("other", 1)):
        rng = np.random.default_rng(seed)
        sizes = [(16, 27), (24, 16), (32, 24), (10, 32)]
        state = {f"{i}.weight": torch.from_numpy(rng.normal(size=size)) for i, size in enumerate(sizes)}
        sac_fast.save_weights(f"{name}.safetensors", state)
        if name == "a":
            torch.save({key: value.half() for key, value in state.items()}, "b.pt")
    return tmp_path


def test_layers_and_verdict_are_printed(files, run):
    code, out, err = run("weights", "a.safetensors", "b.pt")
    assert (code, err) == (0, "")
    assert "verdict: weights related" in out
    assert out.count("1.00  1e-") == 3  # layers
    assert "1 × output layer: its units mean the same in every model" in out
    assert "equal after a change of dtype" in out
    code, out, err = run("weights", "a.safetensors", "other.safetensors")
    assert (code, err) == (0, "")
    assert "verdict: not distinguished" in out


def test_json_has_the_result(files, run):
    code, out, _ = run("weights", "a.safetensors", "b.pt", "--json", "--alpha", "0.01")
    shown = json.loads(out)
    assert code == 0
    assert (shown["verdict"], shown["ground"], shown["alpha"]) == ("weights related", "weights", 0.01)
    assert [layer["matches"] for layer in shown["layers"] if layer["left_out"] is None] == [16, 24, 32]


def test_a_plot_is_written_once(files, run):
    assert run("weights", "a.safetensors", "b.pt", "--plot", "layers.png")[0] == 0
    assert (files / "layers.png").read_bytes().startswith(b"\x89PNG")
    code, _, err = run("weights", "a.safetensors", "b.pt", "--plot", "layers.png")
    assert code != 0
    assert "layers.png" in err
    assert run("weights", "a.safetensors", "b.pt", "--plot", "layers.pdf")[0] == 2


def test_a_damaged_file_is_one_line(files, run):
    (files / "b.pt").write_bytes((files / "b.pt").read_bytes()[:200])
    code, out, err = run("weights", "a.safetensors", "b.pt")
    assert (code, out, len(err.splitlines())) == (1, "", 1)
    assert err.startswith("sac-fast: ModelRefusedError")
