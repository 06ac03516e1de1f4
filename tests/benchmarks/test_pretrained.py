"""The task of published ImageNet networks: images, copies and figures, without the networks themselves."""

import math

import bench_pretrained
import numpy as np
import pytest
import torch
from PIL import Image
from pretrained import copies, photographs, thefts
from pretrained.distances import separation, works
from pretrained.members import CHANGES, CHEAP, all_members, is_copy, is_related, link
from pretrained.tables import markdown
from torch import nn


def test_every_photograph_serves_one_side():
    sides = photographs.assign_sides(100, np.random.default_rng(0))
    assert np.bincount(sides).tolist() == [35, 15, 50]
    assert sides.tolist() != sorted(sides.tolist())
    assert photographs.assign_sides(100, np.random.default_rng(0)).tolist() == sides.tolist()


def test_crops_are_square_and_not_flat():
    generator = np.random.default_rng(1)
    photograph = np.zeros((300, 500, 3), dtype=np.uint8)
    photograph[:, 250:] = generator.integers(0, 256, (300, 250, 3))
    for _ in range(5):
        piece = photographs.crop(photograph, generator)
        assert (piece.shape, piece.dtype) == ((224, 224, 3), np.uint8)
        assert piece.std() > 5


def test_a_stamp_covers_the_image_where_it_is_opaque():
    image = np.full((224, 224, 3), 7, dtype=np.uint8)
    pixels = np.zeros((100, 50, 4), dtype=np.uint8)
    pixels[:50] = (200, 100, 50, 255)
    found = photographs.paste(image, Image.fromarray(pixels), np.random.default_rng(2))
    painted = (found == (200, 100, 50)).all(axis=2)
    # the longer side takes 55 to 95 % of the image, its opaque half is about as high as it is wide
    assert 0.2 * 0.55**2 < painted.sum() / 224**2 < 0.3 * 0.95**2
    unchanged = (found == 7).all(axis=2)
    assert 0.97 < (painted | unchanged).mean() < 1  # the rest is the stamp's smoothed edge


def test_drawings_are_told_from_photographs():
    generator = np.random.default_rng(3)
    drawing = np.full((80, 80, 4), 255, dtype=np.uint8)
    assert not photographs._is_photograph(drawing)
    drawing[..., :3] = generator.integers(0, 256, (80, 80, 3))
    assert photographs._is_photograph(drawing)
    drawing[..., 3] = 0  # nothing to be seen
    assert not photographs._is_photograph(drawing)


def small_network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(8, 4),
    ).eval()  # fmt: skip


def test_rounded_weights_are_those_of_the_format():
    network = small_network()
    copy = copies.rounded(network, torch.bfloat16)
    assert torch.equal(copy[0].weight, network[0].weight.bfloat16().float())
    assert not torch.equal(copy[0].weight, network[0].weight)


def channels_of(network, inputs):
    """What the normalisation takes, as NumPy has it: (channels, values)."""
    maps = nn.functional.conv2d(inputs, network[0].weight).detach().numpy().astype(np.float64)
    return maps.transpose(1, 0, 2, 3).reshape(8, -1)


def test_pruning_sets_the_smallest_weights_to_zero_and_matches_the_norms():
    network = small_network()
    network[1].running_mean.uniform_(-1, 1, generator=torch.Generator().manual_seed(2))
    network[1].running_var.uniform_(0.5, 2, generator=torch.Generator().manual_seed(3))
    inputs = torch.randn(40, 3, 6, 6, generator=torch.Generator().manual_seed(1))
    copy = copies.pruned(network, 0.25, inputs, batch_size=40)
    weight, before = copy[0].weight, network[0].weight
    assert (int((weight == 0).sum()), int((copy[5].weight == 0).sum())) == (54, 8)
    assert before.abs()[weight == 0].max() < before.abs()[weight != 0].min()

    def moments(of):
        mean, variance = of[1].running_mean.numpy()[:, None], of[1].running_var.numpy()[:, None]
        normal = (channels_of(of, inputs) - mean) / np.sqrt(variance)
        return normal.mean(axis=1), normal.std(axis=1)

    # after normalisation every channel has the mean and deviation that it has in the source, and not 0 and 1
    for found, expected in zip(moments(copy), moments(network), strict=True):
        assert found == pytest.approx(expected, abs=1e-5)
    assert np.abs(moments(copy)[0]).max() > 0.1
    assert not copy.training


def test_depthwise_weights_are_not_pruned():
    network = nn.Sequential(nn.Conv2d(4, 4, 3, groups=4), nn.Conv2d(4, 6, 1), nn.Flatten(), nn.Linear(6, 2))
    assert copies.dense_layers(network) == [network[1], network[3]]


def test_norms_of_an_unchanged_network_stay():
    network = small_network()
    copy = small_network()
    copies.match_norms(copy, network, torch.randn(20, 3, 6, 6), batch_size=10)
    assert copy[1].running_mean.numpy() == pytest.approx(np.zeros(8), abs=1e-6)
    assert copy[1].running_var.numpy() == pytest.approx(np.ones(8), rel=1e-5)


def test_agreement_and_accuracy_of_kinds():
    logits = torch.eye(3)
    assert thefts.agreement(logits, torch.eye(3)[[0, 1, 1]]) == pytest.approx(2 / 3)
    assert thefts.accuracy(logits, torch.tensor([0, 2, -1])) == 0.5
    assert works({"agreement": 0.8, "accuracy_of_kinds": None})
    assert not works({"agreement": 0.79, "accuracy_of_kinds": None})
    assert works({"agreement": None, "accuracy_of_kinds": 0.6})
    assert not works({"agreement": None, "accuracy_of_kinds": 0.5})


def test_separation_by_hand():
    copies_of_it = {"noise": 0.1, "tuned": 0.4, "moved": math.nan}
    found = separation(copies_of_it, {"other": 0.3, "another": 0.5, "strange": math.nan})
    assert found["nearest_honest"] == ["other", 0.3]
    assert found["farthest_copy"] == ["moved", None]
    assert (found["copies"], found["honest"], found["copies_below"]) == (3, 2, 1)
    assert found["not_below"] == ["tuned", "moved"]
    assert not found["all_below"]
    # pairs in order: noise 2 of 2, tuned 1 of 2, moved none
    assert found["auc"] == pytest.approx(3 / 6)
    below = separation({"noise": 0.1}, {"other": 0.3})
    assert (below["all_below"], below["auc"], below["not_below"]) == (True, 1.0, [])
    assert separation({}, {"other": 0.3}) == {}


def test_the_table_lists_what_does_not_work_and_what_was_not_made():
    def about(agreement, works):
        return {"agreement": agreement, "accuracy_of_kinds": None, "agreement_where_sure": 1.0, "works": works}

    models = {"lite0": about(1.0, True), "lite0-fp16": about(0.98, True), "lite0-noise-2": about(0.77, False)}
    record = {
        "source": "lite0", "statistic": "agreement", "probes": "plain", "copies": 1, "copies_below": 0, "honest": 9,
        "not_below": ["lite0-fp16"],
    }  # fmt: skip
    text = markdown({"models": models, "records": [record], "command": "x"})
    assert "3 models, 1 of them copies that work" in text
    assert "| fp16 | 98% (100%) | – | – |" in text
    assert "| noise-2 | 77% (100%), not counted | – | – |" in text
    assert "lite1-fp16, " in text.split("Not made in this run: ")[1]
    assert "| agreement, plain | 0 of 1, 9 honest | – | – | lite0-fp16 |" in text


def test_members_are_named_by_source_and_change():
    members = all_members()
    assert [m.name for m in members[:3]] == ["lite0", "lite1", "lite2"]
    assert len(members) == len({m.name for m in members}) == 3 + 3 * len(CHANGES)
    by_name = {m.name: m for m in members}
    student = by_name["lite1-distil"]
    assert (student.source, student.start) == ("lite1", "lite0")
    assert is_copy(student, "lite1")
    # a student that started from lite0's weights is no honest model to lite0, and no copy either
    assert is_related(student, "lite0")
    assert not is_copy(student, "lite0")
    assert not is_related(student, "lite2")
    assert not is_copy(by_name["lite0"], "lite0")
    assert {m.change for m in all_members(CHEAP)} == {"", *CHEAP}


def test_links_replace_what_is_there(tmp_path):
    (tmp_path / "new").write_text("new")
    (tmp_path / "old").write_text("old")
    link(tmp_path / "new", tmp_path / "old")
    assert (tmp_path / "old").read_text() == "new"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "old"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--only", "cheap,nothing"], "--only must be among cheap, onnx"),
        (["--threads", "0"], "--threads must be at least 1, got 0"),
        (["--json", "/no/such/folder/x.json"], "the folder of --json must exist"),
    ],
)
def test_wrong_options(options, message, capsys):
    with pytest.raises(SystemExit):
        bench_pretrained.parse(["folder", *options])
    assert message in capsys.readouterr().err


def test_options():
    assert bench_pretrained.parse(["folder"]).changes == CHANGES
    assert bench_pretrained.parse(["folder", "--only", "cheap"]).changes == CHEAP
    assert bench_pretrained.parse(["folder", "--only", "distil,onnx"]).changes == ("distil", "onnx")
