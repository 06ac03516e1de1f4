"""Options of what a file keeps more than once, of further inputs, and of preprocessings that are tried."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sac_fast import Fingerprint, ProbeSet

LINEAR = 'torch.nn:Conv2d {"in_channels": 3, "out_channels": 2, "kernel_size": 8}'


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pixels = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), np.uint8)
    ProbeSet.from_arrays(pixels).save("p.safetensors")
    torch.manual_seed(0)
    state = torch.nn.Conv2d(3, 2, 8).state_dict()
    torch.save({"state_dict": state, "state_dict_ema": {key: 2 * value for key, value in state.items()}}, "m.pt")


def made(run, out, *more):
    code, text, error = run(
        "fingerprint", "m.pt", "--probes", "p.safetensors", "--architecture", LINEAR, "--out", out, *more
    )
    assert code == 0, text + error
    return Fingerprint.load(out)


def test_the_key_of_the_weights(files, run):
    code, _, error = run("fingerprint", "m.pt", "--probes", "p.safetensors", "--architecture", LINEAR, "--out", "f")
    assert code == 1
    assert "got 'state_dict' and 'state_dict_ema'; name one (--weights-key)" in error
    plain, ema = (made(run, key, "--weights-key", key) for key in ("state_dict", "state_dict_ema"))
    torch.testing.assert_close(ema.outputs, 2 * plain.outputs)
    assert ema.provenance["checkpoint"] == {"key": "state_dict_ema"}
    arguments = LINEAR.partition(" ")[2]
    code, _, error = run(
        *(
            "fingerprint",
            "torch.nn:Conv2d",
            "--model-args",
            arguments,
            "--weights",
            "m.pt",
            "--weights-key",
            "state_dict",
        ),
        *("--probes", "p.safetensors", "--out", "g"),
    )
    assert code == 0, error
    assert torch.equal(Fingerprint.load("g").outputs, plain.outputs)


def test_preprocessings_that_are_tried(files, run):
    found = made(run, "f", "--weights-key", "state_dict", "--preprocessing", "auto", "--size", "8")
    tried = found.provenance["preprocessing_tried"]
    assert set(tried) == {"none", "imagenet", "plus-minus-one", "chosen", "by"}
    code, _, error = run(
        "fingerprint", "m.pt", "--probes", "p.safetensors", "--out", "g", "--preprocessing", "auto", "--mean", "0.5"
    )
    assert code == 2
    assert "must not be auto where --mean or --std name one" in error


@pytest.mark.parametrize("text", ["state", "=1", "sr=high", "sr="])
def test_fixed_inputs_that_are_none(files, run, text):
    code, _, error = run("fingerprint", "m.pt", "--probes", "p.safetensors", "--out", "f", "--input", text)
    assert code == 2
    assert "--input" in error
