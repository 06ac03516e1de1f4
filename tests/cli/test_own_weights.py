"""A forgotten --weights: random weights are refused, weights that the code loads are taken and recorded."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sac_fast import Fingerprint, ProbeSet, load_model
from sac_fast.errors import ModelError
from sac_fast.models.own_weights import load_without_weights

MODELS = """
import random
from pathlib import Path
import numpy as np
import torch
from torch import nn

def bare():
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 3))
def pretrained():
    made = bare()
    made.load_state_dict(torch.load("own.pt", weights_only=True))
    return made
def by_numpy():
    made = pretrained()
    with torch.no_grad():
        made[1].bias[0] = np.random.rand()
    return made
def by_python():
    made = pretrained()
    made.register_buffer("shift", torch.tensor(random.random()))
    return made
def nothing():
    return nn.Flatten()
"""


@pytest.fixture
def probes(folder: Path) -> ProbeSet:
    (folder / "own_models.py").write_text(MODELS)
    torch.manual_seed(5)
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 3))
    torch.save(net.state_dict(), "own.pt")
    made = ProbeSet.from_arrays(np.random.default_rng(0).integers(0, 256, (7, 2, 2, 3), np.uint8))
    made.save("probes")
    return made


@pytest.mark.parametrize(("name", "values"), [("bare", "'1.bias'"), ("by_numpy", "'1.bias'"), ("by_python", "'shift'")])
def test_random_weights_are_refused(probes: ProbeSet, run: Any, name: str, values: str) -> None:
    common = ("fingerprint", f"own_models:{name}", "--probes", "probes", "--out", "f", "-q")
    code, _, err = run(*common)
    assert code == 1
    assert f"got other values for another seed in {values}; --random-weights takes them as they are" in err
    assert not Path("f").exists()
    code, _, err = run(*common, "--random-weights")
    assert (code, "weights: random" in err) == (0, True)
    assert Fingerprint.load("f").provenance["weights_from"] == "random"


def test_weights_from_code_are_taken_and_recorded(probes: ProbeSet, run: Any) -> None:
    code, _, err = run("fingerprint", "own_models:pretrained", "--probes", "probes", "--out", "f", "-q")
    assert (code, "weights: code" in err) == (0, True)
    made = Fingerprint.load("f")
    assert made.provenance["weights_from"] == "code"
    state = torch.load("own.pt", weights_only=True)
    pixels = torch.from_numpy(probes.images.copy()).permute(0, 3, 1, 2).reshape(7, 12).double() / 255
    expected = pixels @ state["1.weight"].double().T + state["1.bias"].double()
    torch.testing.assert_close(made.outputs.double(), expected, rtol=0, atol=1e-6)
    code, _, err = run(
        "fingerprint", "own_models:bare", "--weights", "own.pt", "--probes", "probes", "--out", "g", "-q"
    )
    assert (code, err) == (0, "")
    assert Fingerprint.load("g").provenance["weights_from"] == "file"
    assert torch.equal(Fingerprint.load("g").outputs, made.outputs)
    code, _, err = run("fingerprint", "own_models:nothing", "--probes", "probes", "--out", "h", "-q")
    assert (code, "weights" in err, Fingerprint.load("h").provenance["weights_from"]) == (0, False, "none")
    both = ("--weights", "own.pt", "--random-weights")
    assert run("fingerprint", "own_models:bare", *both, "--probes", "probes", "--out", "i")[0] == 2


def test_generators_are_left_as_they_were(probes: ProbeSet) -> None:
    torch.manual_seed(1)
    np.random.seed(2)  # noqa: NPY002 - what models may use
    random.seed(3)
    expected = torch.rand(2), np.random.rand(), random.random()  # noqa: NPY002
    torch.manual_seed(1)
    np.random.seed(2)  # noqa: NPY002
    random.seed(3)
    with pytest.raises(ModelError) as caught:
        load_without_weights("torch.nn:Linear", {"in_features": 2, "out_features": 2})
    assert caught.value.reason == "random-weights"
    assert torch.equal(torch.rand(2), expected[0])
    assert (np.random.rand(), random.random()) == expected[1:]  # noqa: NPY002
    one = load_without_weights("torch.nn:Linear", {"in_features": 2, "out_features": 2}, random_weights=True)
    torch.manual_seed(0)
    assert torch.equal(
        one[0].weight, load_model("torch.nn:Linear", kwargs={"in_features": 2, "out_features": 2}).weight
    )


def test_comparing_engines_needs_weights(probes: ProbeSet, run: Any) -> None:
    common = ("probes", "compare", "images", "--quality", "50", "--model", "cli_models:Net")
    code, _, err = run(*common)
    assert (code, "--random-weights takes them" in err) == (1, True)
    assert run(*common, "--random-weights")[0] == 0
