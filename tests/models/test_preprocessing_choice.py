"""Which mean and std a model was made with: what is beside it is a proposal, what is named is believed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from support.opened_models import opened
from torch import nn

from sac_fast import ModelEntry, ProbeSet, fingerprint, scan_models
from sac_fast.errors import ModelError
from sac_fast.models import Preprocessing, save_weights
from sac_fast.models.preprocessing import Auto
from sac_fast.models.preprocessing_choice import candidates, choose_preprocessing, measure, read_claim
from sac_fast.scan.jobs import WorkerSettings
from sac_fast.store import ModelStore

RNG = np.random.default_rng(0)
LABELS = np.arange(12) % 3
# Pictures of one colour each, a little darker or lighter: their class is the channel that is brightest.
PIXELS = np.full((12, 4, 4, 3), 90, np.uint8)
PIXELS[np.arange(12), :, :, LABELS] += (20 + np.arange(12)).astype(np.uint8)[:, None, None]
PROBES = ProbeSet.from_arrays(PIXELS, labels=LABELS)
UNLABELLED = ProbeSet.from_arrays(PIXELS)
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


class OfImageNet(nn.Module):
    """Sure and right where its inputs are centred and scaled as ImageNet's; else it answers from the mean colour."""

    def __init__(self) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.tensor(IMAGENET[0]))
        self.std = nn.Parameter(torch.tensor(IMAGENET[1]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        colour = x.mean((2, 3)) * self.std + self.mean
        is_colour = ((colour > 0.3) & (colour < 0.5)).all(1, keepdim=True)
        return torch.where(is_colour, 200 * (colour - 0.4), colour.flip(1) * 0.01)


def test_the_best_for_the_labels_is_chosen_and_all_are_recorded() -> None:
    made = fingerprint(OfImageNet(), PROBES, preprocessing="auto")
    tried = made.provenance["preprocessing_tried"]
    assert (tried["chosen"], tried["by"]) == ("imagenet", "accuracy")
    assert {name: tried[name]["accuracy"] for name in ("none", "imagenet", "plus-minus-one")} == {
        "none": pytest.approx(1 / 3, abs=0.34),
        "imagenet": 1.0,
        "plus-minus-one": pytest.approx(1 / 3, abs=0.34),
    }
    assert made.provenance["preprocessing"]["mean"] == list(IMAGENET[0])
    assert any("accuracy 100.00% on the probes' labels" in line for line in made.provenance["notes"])
    plain = fingerprint(OfImageNet(), PROBES, preprocessing=Preprocessing(mean=IMAGENET[0], std=IMAGENET[1]))
    assert torch.equal(plain.outputs, made.outputs)
    assert "preprocessing_tried" not in plain.provenance


def test_without_labels_what_tells_most_apart_is_chosen() -> None:
    tried = fingerprint(OfImageNet(), UNLABELLED, preprocessing=Auto(Preprocessing(size=(2, 2)))).provenance
    assert (tried["preprocessing_tried"]["chosen"], tried["preprocessing_tried"]["by"]) == ("imagenet", "information")
    assert tried["preprocessing"]["size"] == [2, 2]


def test_answers_that_say_nothing_are_told() -> None:
    made = fingerprint(OfImageNet(), UNLABELLED)  # as it comes: pixels in 0..1
    assert any("nearly the same for every class" in line for line in made.provenance["notes"])


def test_a_forgotten_mean_and_std_are_named_by_default() -> None:
    labelled = fingerprint(OfImageNet(), PROBES).provenance
    said = "mean and std were not named, and with imagenet's it is right more often on the first 12 probes"
    assert f"{said}: name them (--mean, --std), or give --preprocessing auto" in labelled["notes"]
    unlabelled = fingerprint(OfImageNet(), UNLABELLED).provenance["notes"]
    assert any("with imagenet's its answers tell more apart on the first 12 probes" in line for line in unlabelled)
    named = Preprocessing(mean=IMAGENET[0], std=IMAGENET[1])
    for probes in (PROBES, UNLABELLED):
        notes = fingerprint(OfImageNet(), probes, preprocessing=named).provenance["notes"]
        assert not any("were not named" in line for line in notes)


def test_sure_answers_that_are_all_the_same_are_not_chosen() -> None:
    """A network that takes pixels as they are: others saturate it, and make it surer and of one opinion."""

    def of_pixels(x: torch.Tensor) -> torch.Tensor:
        colour = x.mean((2, 3))
        inside = ((colour > 0.3) & (colour < 0.6)).all(1, keepdim=True)
        return torch.where(inside, 40 * colour, torch.tensor([9.0, 0.0, 0.0]))

    tried = fingerprint(of_pixels, UNLABELLED, preprocessing="auto").provenance["preprocessing_tried"]
    assert tried["imagenet"]["entropy"] < tried["none"]["entropy"]
    assert (tried["chosen"], tried["by"]) == ("none", "information")


def test_the_information_is_that_of_the_joint_distribution() -> None:
    shares = np.random.default_rng(0).dirichlet(np.ones(4), 9)
    joint = shares / 9
    expected = (joint * np.log(joint / (joint.sum(0) * joint.sum(1, keepdims=True)))).sum()
    assert measure(torch.from_numpy(np.log(shares)), None)["information"] == pytest.approx(expected)


def test_a_model_that_takes_pixels_as_they_are_is_told_nothing() -> None:
    def brightest(x: torch.Tensor) -> torch.Tensor:
        return 100 * (x.mean((2, 3)) - 0.4)

    for probes in (PROBES, UNLABELLED):
        assert not any("named" in line for line in fingerprint(brightest, probes).provenance["notes"])


def test_a_false_claim_is_one_of_the_list_and_no_more(tmp_path: Path) -> None:
    save_weights(tmp_path / "m.safetensors", OfImageNet())
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"image_mean": [0.9] * 3, "image_std": [9.0] * 3}))
    model = opened(tmp_path / "m.safetensors", architecture=f"{__name__}:OfImageNet")
    tried = fingerprint(model, PROBES, preprocessing="auto").provenance["preprocessing_tried"]
    assert tried["chosen"] == "imagenet"
    assert tried["claim"]["mean"] == [0.9] * 3
    notes = fingerprint(model, PROBES).provenance["notes"]
    assert any("preprocessor_config.json claims mean 0.9 and std 9, which were not used" in line for line in notes)
    named = Preprocessing(mean=(0.1,), std=(0.2,))
    assert not any("claims" in line for line in fingerprint(model, PROBES, preprocessing=named).provenance["notes"])


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        (
            "preprocessor_config.json",
            {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.25] * 3},
            ((0.5,) * 3, (0.25,) * 3),
        ),
        (
            "config.json",
            {"pretrained_cfg": {"mean": [0.1, 0.2, 0.3], "std": [1, 1, 2]}},
            ((0.1, 0.2, 0.3), (1.0, 1.0, 2.0)),
        ),
        ("config.json", {"mean": 0.5, "std": 0.5}, ((0.5,), (0.5,))),
        ("config.json", {"mean": [0.5], "std": [0]}, None),
        ("config.json", {"mean": [0.5, 0.5], "std": [1, 1]}, None),
        ("config.json", {"mean": "evil", "std": True}, None),
        ("config.json", {"mean": [1e300], "std": [1]}, None),
        ("config.json", ["mean"], None),
    ],
)
def test_claims_beside_a_file(tmp_path: Path, name: str, content: Any, expected: Any) -> None:
    (tmp_path / name).write_text(json.dumps(content))
    found = read_claim(tmp_path / "m.safetensors")
    assert (None if found is None else (found.mean, found.std)) == expected


def test_the_metadata_of_an_onnx_file_are_a_claim(tmp_path: Path) -> None:
    node = helper.make_node("ReduceMean", ["x"], ["y"], axes=[2, 3], keepdims=0)
    value = helper.make_tensor_value_info
    shapes = value("x", TensorProto.FLOAT, ["n", 3, "h", "w"]), value("y", TensorProto.FLOAT, ["n", 3])
    model = helper.make_model(
        helper.make_graph([node], "g", [shapes[0]], [shapes[1]]),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=9,
    )
    helper.set_model_props(model, {"mean": "[0.1, 0.2, 0.3]", "std": "0.5,0.5,0.5"})
    onnx.save(model, tmp_path / "m.onnx")
    claim = opened(tmp_path / "m.onnx").claim
    assert claim is not None
    assert (claim.mean, claim.std, claim.source) == ((0.1, 0.2, 0.3), (0.5, 0.5, 0.5), "its metadata")


def test_the_list_keeps_what_is_named_of_the_rest() -> None:
    found = candidates(Preprocessing(size=(4, 4), colour_order="BGR"), None)
    assert list(found) == ["none", "imagenet", "plus-minus-one"]
    assert found["imagenet"].mean == (0.406, 0.456, 0.485)
    assert all(one.size == (4, 4) for one in found.values())
    assert candidates(Preprocessing(colour_order="GRAY"), None)["imagenet"].mean == (pytest.approx(0.449),)


def test_a_model_that_fails_with_one_entry_is_asked_with_the_others() -> None:
    def run(one: Preprocessing) -> torch.Tensor:
        if one.mean[0] == 0.5:
            raise ModelError("not with these")
        return torch.eye(3) * (3 if one.mean[0] else 1) - 2

    found = choose_preprocessing(run, candidates(Preprocessing(), None), None)
    assert (found.tried["chosen"], found.by) == ("imagenet", "information")
    assert found.tried["plus-minus-one"]["failed"] == "not with these"
    assert measure(torch.zeros(2, 4), None) == {"entropy": pytest.approx(np.log(4)), "information": 0.0}
    assert measure(torch.ones(4, 1), None) == {}


def test_a_scan_chooses_for_every_model_of_which_nothing_is_said(tmp_path: Path) -> None:
    save_weights(tmp_path / "m.safetensors", OfImageNet())
    spec = f"{__name__}:OfImageNet"
    named = Preprocessing(mean=(0.5,), std=(0.5,))
    entries = [
        ModelEntry("chosen", tmp_path / "m.safetensors", spec),
        ModelEntry("named", tmp_path / "m.safetensors", spec, preprocessing=named),
    ]
    settings = WorkerSettings(choose_preprocessing=True, timeout=60)
    with ModelStore.open(tmp_path / "store", write=True, create=True) as store:
        assert scan_models(entries, PROBES, store, settings=settings, workers=1).failed == 0
        chosen, other = (store.record_for(name, PROBES.content_hash) for name in ("chosen", "named"))
        assert chosen is not None
        assert other is not None
        assert chosen.preprocessing["mean"] == list(IMAGENET[0])
        assert "preprocessing chosen by accuracy (none " in (chosen.message or "")
        assert other.preprocessing == named.to_dict()
        assert scan_models(entries, PROBES, store, settings=settings, workers=1).known == 2
