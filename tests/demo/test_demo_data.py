"""The demo's photographs, patches, architectures and list of models."""

from importlib.machinery import ModuleSpec

import numpy as np
import pytest
import torch
from PIL import Image

from sac_fast.demo import architectures, data, plan
from sac_fast.errors import ProbeError
from sac_fast.labelled_zoo import photographs
from sac_fast.models import load_model
from sac_fast.verify.usual_seeds import is_usual_seed

KINDS = ["plain", "residual", "inception"]


def test_sides_share_no_pixel(monkeypatch):
    """In a picture whose every pixel tells its place, the sides' patches are sets without a common pixel."""
    rows, columns = np.meshgrid(np.arange(250), np.arange(200), indexing="ij")
    picture = np.stack([rows, columns, np.zeros_like(rows)], axis=2).astype(np.uint8)
    monkeypatch.setattr(data, "read_photograph", lambda name: picture)
    task = data.make_task(3, patches=60, test_patches=30, photographs=("a",))
    pixels = []
    for side in (task.defender, task.attacker, task.test):
        flat = side.pixels.reshape(-1, 3).astype(int)
        pixels.append(set((flat[:, 0] * 256 + flat[:, 1]).tolist()))
        step = np.diff(side.pixels.astype(int), axis=1)[..., 0]
        assert (step == 1).all()  # patches are cut whole: 32 neighbouring rows
    assert [len(side.pixels) for side in (task.defender, task.attacker, task.test)] == [60, 60, 30]
    assert pixels[0].isdisjoint(pixels[1])
    assert pixels[0].isdisjoint(pixels[2])
    assert pixels[1].isdisjoint(pixels[2])


def test_patches_of_a_side_are_all_different(monkeypatch):
    noise = np.random.default_rng(0).integers(0, 256, (192, 192, 3), dtype=np.uint8)
    monkeypatch.setattr(data, "read_photograph", lambda name: noise)
    side = data.make_task(0, patches=150, photographs=("a",)).attacker
    assert len({patch.tobytes() for patch in side.pixels}) == 150


@pytest.mark.parametrize(
    ("size", "expected"), [((480, 480), [40, 40, 20]), ((48, 240), [2, 2, 1]), ((100, 150), [2, 3, 1])]
)
def test_cells_are_shared_out(size, expected):
    sides = data.assign_cells(*size, np.random.default_rng(0))
    assert sides.shape == (size[0] // 48, size[1] // 48)
    assert np.bincount(sides.ravel(), minlength=3).tolist() == expected


def test_too_small_a_photograph_is_refused():
    with pytest.raises(ProbeError, match="photograph must have at least 5 cells of 48×48, got 4 from 96×143"):
        data.assign_cells(96, 143, np.random.default_rng(0))


def test_task_is_balanced_and_seeded():
    one, again, other = (data.make_task(seed, patches=5, test_patches=2) for seed in (1, 1, 2))
    assert one.classes == tuple(data.PHOTOGRAPHS)
    assert len(one.classes) == 10
    for side, count in (("defender", 5), ("attacker", 5), ("test", 2)):
        patches = getattr(one, side)
        assert patches.pixels.dtype == np.uint8
        assert patches.pixels.shape == (10 * count, 32, 32, 3)
        assert np.bincount(patches.labels).tolist() == [count] * 10
        assert np.array_equal(patches.pixels, getattr(again, side).pixels)
        assert not np.array_equal(patches.pixels, getattr(other, side).pixels)


def test_gray_photographs_have_three_equal_channels():
    brick = photographs.read_photograph("brick")
    assert brick.shape == (512, 512, 3)
    assert (brick == brick[..., :1]).all()


def test_missing_package_and_missing_photograph(monkeypatch, tmp_path):
    monkeypatch.setattr(photographs.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ProbeError, match=r"'rocket' must come from the package skimage.*sac-fast\[demo\]"):
        photographs.read_photograph("rocket")
    spec = ModuleSpec("skimage", None, is_package=True)
    spec.submodule_search_locations = [str(tmp_path)]
    monkeypatch.setattr(photographs.importlib.util, "find_spec", lambda name: spec)
    with pytest.raises(ProbeError, match=r"'rocket' must be readable at .*rocket\.jpg"):
        photographs.read_photograph("rocket")
    (tmp_path / "data").mkdir()
    Image.new("L", (5, 4), 7).save(tmp_path / "data" / "rocket.jpg")
    assert photographs.read_photograph("rocket").tolist() == [[[7, 7, 7]] * 5] * 4


# ---- models


@pytest.mark.parametrize("kind", KINDS)
def test_architectures_answer_and_are_seeded(kind):
    model = load_model(f"sac_fast.demo.architectures:{kind}", kwargs={"classes": 7}).eval()
    images = torch.rand(2, 3, 32, 32)
    assert model(images).shape == (2, 7)
    assert not torch.equal(model(images), getattr(architectures, kind)(7).eval()(images))


def test_architectures_are_of_different_kinds():
    layers = {kind: [type(m).__name__ for m in getattr(architectures, kind)(3).modules()] for kind in KINDS}
    assert "Residual" in layers["residual"]
    assert "_Branches" in layers["inception"]
    assert not {"_Residual", "_Branches"} & set(layers["plain"])


@pytest.mark.parametrize("size", [plan.FULL, plan.QUICK], ids=["full", "quick"])
def test_plan(size):
    members = plan.plan(size, 4)
    assert [member.name for member in members[:2]] == ["backbone", "source"]
    assert len({member.name for member in members}) == len(members)
    assert len({member.seed for member in members}) == len(members)
    assert not {m.seed for m in members} & {m.seed for m in plan.plan(size, 5)}
    assert not any(is_usual_seed(member.seed) for member in members)
    source, *siblings = (member for member in members if member.method in ("source", "sibling"))
    assert len(siblings) == size.siblings
    for sibling in siblings:  # alike but for the seed
        assert (sibling.architecture, sibling.side, sibling.from_backbone) == ("plain", "defender", True)
        assert (source.architecture, source.side, source.from_backbone) == ("plain", "defender", True)
    suspects = [member for member in members if member.is_suspect]
    assert {member.method for member in suspects} == {*plan.THEFTS, "independent", "api"}
    assert {member.side for member in suspects if member.truth == "derived"} == {"attacker"}
    for method in ("extract-labels", "extract-soft-t4", "extract-distill"):
        assert [m.architecture for m in suspects if m.method == method] == list(size.students)
    kinds = {member.kind for member in suspects if member.truth == "independent"}
    assert kinds == {"same-data-same-architecture", "same-data", "other-data", "same-backbone"}
    assert {member.form for member in suspects if member.method == "api"} == {"probabilities", "labels"}
    names = [member.name for member in members]
    waiting = {member.name: member.after for member in members if member.after}
    assert all(names.index(other) < names.index(name) for name, other in waiting.items())
    assert waiting["source"] == waiting["sibling-01"] == "backbone"
    assert waiting["finetune-all"] == waiting["api-labels"] == "source"


def test_sizes():
    """19 siblings make verdicts exact at 5 %; label theft needs thousands of probes."""
    assert (plan.FULL.siblings, plan.FULL.alpha) == (19, 0.05)
    # 525 patches a class is what the smallest photographs have
    assert len(data.make_task(0, patches=1, test_patches=plan.FULL.test_patches).test) >= 4000
    for size in (plan.FULL, plan.QUICK):
        assert len(size.independents) >= round(1 / size.null_alpha) - 1


def test_the_backbone_learns_from_other_photographs():
    assert len(data.PUBLIC) == 9
    assert set(data.PUBLIC) | set(data.PHOTOGRAPHS) == set(photographs.PHOTOGRAPHS)
    assert not set(data.PUBLIC) & set(data.PHOTOGRAPHS)
