"""A labelled zoo scored by benchmarks/bench_baselines.py: own models, kept scores, the command."""

import dataclasses
import json
import re
import sys

import bench_baselines
import pytest
import torch
from baselines import OwnModels, PixelModel
from baselines.defender import logits_of
from baselines.own_models import Architecture, architectures, train_own_models
from baselines.run import Kept, run_methods
from baselines.summary import summarise, table
from support.baseline_models import OWN, Net, pixels, task

from sac_fast.attacks import TrainingConfig
from sac_fast.errors import FileFormatError
from sac_fast.labelled_zoo.folder import LabelledZoo, ZooMember
from sac_fast.models import Preprocessing, save_weights
from sac_fast.probes import ProbeSet

SPEC = f"{Net.__module__}:Net"


def test_own_models_are_kept_and_read_back(tmp_path):
    known = [
        Architecture(SPEC, {"seed": 1}, TrainingConfig(learning_rate=0.05)),
        Architecture(SPEC, {"seed": 2}, TrainingConfig()),
    ]
    source = PixelModel(Net(), None)
    first = train_own_models(source, task(), known, tmp_path, count=4, seen=64)
    assert (len(first.stolen), len(first.independent)) == (4, 4)
    files = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    again = train_own_models(source, task(), known, tmp_path, count=4, seen=64)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == files
    images = pixels(6, 8)
    for one, two in zip((*first.stolen, *first.independent), (*again.stolen, *again.independent), strict=True):
        assert torch.equal(logits_of(one, images), logits_of(two, images))
        assert not torch.equal(logits_of(one, images), logits_of(source, images))
    # Another source is another defender.
    train_own_models(PixelModel(Net(seed=9), None), task(), known, tmp_path, count=1, seen=64)
    assert (tmp_path / "stolen-01.json").stat().st_mtime_ns != files[tmp_path / "stolen-01.json"]


# --- a zoo -----------------------------------------------------------------------------------------------


def make_zoo(folder):
    members = [
        ZooMember("source", "source", "source", SPEC),
        ZooMember("near", "stolen", "weight-noise", SPEC, {"seed": 0}),
        ZooMember("moved", "stolen", "transfer-all", SPEC, {"classes": 5}),
        *(ZooMember(f"far-{i}", "independent", "same-data", SPEC, {"seed": i}) for i in (5, 6)),
        ZooMember("other", "independent", "other-data", SPEC, {"seed": 7}),
    ]
    zoo = LabelledZoo(folder, {"name": "test"}, Preprocessing().to_dict(), tuple(members), ("plain", "misclassified"))
    zoo.save()
    for member in members:
        net = Net(**member.architecture_args)
        if member.name == "near":
            net[-1].bias.data += 0.01
        save_weights(zoo.weights_file(member), net)
    given = task()
    for name, images, labels in (
        ("plain", given.held_out, given.held_out_labels),
        ("misclassified", given.errors, given.error_labels),
    ):
        whole = (255 * images).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
        ProbeSet.from_arrays(whole, labels.numpy(), layout="NHWC").save(zoo.probes_file(name))
    trained = (255 * given.images).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    ProbeSet.from_arrays(trained, given.labels.numpy(), layout="NHWC").save(folder / "trained.safetensors")
    return zoo


def test_a_zoo_is_scored_and_what_is_scored_is_kept(tmp_path):
    zoo = make_zoo(tmp_path)
    wanted = [("akh", 20), ("modeldiff", 20)]
    kept = Kept(tmp_path / "scores.jsonl")
    akh, diff = run_methods(zoo, task(), OwnModels(), wanted, kept)
    assert akh["queries"] == diff["queries"] == 20
    assert akh["scores"]["moved"] is None
    assert akh["auc"]["not_applicable"] == ["moved"]
    assert diff["auc"]["not_applicable"] == []
    assert akh["scores"]["near"] < min(akh["scores"][name] for name in ("far-5", "far-6", "other"))
    assert akh["auc"]["overall"] == akh["auc"]["by_attack"]["weight-noise"] == 1.0
    assert akh["auc"]["by_attack"]["transfer-all"] is None

    lines = (tmp_path / "scores.jsonl").read_text().splitlines()
    assert len(lines) == 2 + 4 + 5
    # A run that was stopped in the middle of a line loses that one score and no other.
    (tmp_path / "scores.jsonl").write_text("\n".join(lines)[:-5])
    again = run_methods(zoo, task(), OwnModels(), wanted, Kept(tmp_path / "scores.jsonl"))
    assert [r["scores"] for r in again] == [akh["scores"], diff["scores"]]
    assert (
        len((tmp_path / "scores.jsonl").read_text().splitlines()) == len(lines) + 2
    )  # the broken one, made and scored
    # Own models count only where the method has them.
    before = len((tmp_path / "scores.jsonl").read_text().splitlines())
    run_methods(zoo, task(), OWN, wanted, Kept(tmp_path / "scores.jsonl"))
    assert len((tmp_path / "scores.jsonl").read_text().splitlines()) == before
    # What is not kept for all members is left out where nothing shall be scored.
    more = [*wanted, ("ipguard", 20), ("akh", 21)]
    reported = run_methods(zoo, task(), OwnModels(), more, Kept(tmp_path / "scores.jsonl"), only_kept=True)
    assert [r["scores"] for r in reported] == [akh["scores"], diff["scores"]]
    # Other images, another seed: nothing kept fits.
    kept = Kept(tmp_path / "scores.jsonl")
    before = len(kept.scored)
    run_methods(zoo, task(seed=5), OwnModels(), wanted[:1], kept)
    run_methods(zoo, task(), OwnModels(), wanted[:1], kept, seed=1)
    assert len(kept.scored) == before + 8


def test_architectures_are_the_sources_first_with_their_recipes(tmp_path):
    zoo = make_zoo(tmp_path)
    with_recipe = dataclasses.replace(
        zoo.members[0],
        architecture_args={"classes": 3},
        details={"recipe": dataclasses.asdict(TrainingConfig(epochs=3))},
    )
    members = (with_recipe, *zoo.members[1:], ZooMember("x", "stolen", "y", SPEC, {"classes": 3, "seed": 8}))
    found = architectures(dataclasses.replace(zoo, members=members))
    assert [a.arguments for a in found] == [{"classes": 3}, {"classes": 3, "seed": 8}]
    assert found[0].recipe.epochs == 3
    strange = dataclasses.replace(with_recipe, details={"recipe": {"surprise": 1}})
    with pytest.raises(FileFormatError, match="recipe of 'source' must hold the fields of TrainingConfig"):
        architectures(dataclasses.replace(zoo, members=(strange, *zoo.members[1:])))


def test_summary_by_hand():
    members = [
        ZooMember("s", "source", "source", "m:f"),
        ZooMember("a1", "stolen", "attack-a", "m:f"),
        ZooMember("a2", "stolen", "attack-a", "m:f"),
        ZooMember("b", "stolen", "adaptive-b", "m:f"),
        ZooMember("c", "stolen", "transfer-c", "m:f"),
        ZooMember("i1", "independent", "same-data", "m:f"),
        ZooMember("i2", "independent", "other-data", "m:f"),
    ]
    scores = {"a1": 0.1, "a2": 0.5, "b": 0.9, "c": None, "i1": 0.4, "i2": 0.8}
    got = summarise(scores, members)
    assert got["by_attack"] == {"attack-a": 0.75, "adaptive-b": 0.0, "transfer-c": None}
    assert got["overall"] == 0.5  # pairs won: 2 of a1, 1 of a2, 0 of b, of 6
    assert got["by_null_kind"] == {"other-data": pytest.approx(2 / 3), "same-data": pytest.approx(1 / 3)}
    assert got["mean_over_attacks"] == 0.375
    assert got["mean_over_non_adaptive_attacks"] == 0.75
    assert got["by_attack_and_null_kind"]["attack-a"] == {"other-data": 1.0, "same-data": 0.5}
    assert got["counts"] == {"stolen": 3, "independent": 2}
    assert got["not_applicable"] == ["c"]
    line = {"title": "T", "queries": 7, "prepare_cpu_seconds": 1.25, "median_suspect_cpu_seconds": 0.0125, "auc": got}
    head, _, row = table([line]).splitlines()
    assert head.split(" | ")[-3:] == ["adaptive-b", "attack-a", "transfer-c |"]
    assert row == "| T | 7 | 1.2 | 12 | 1 | 0.50 | 0.75 | 0.33 | 0.67 | 0.00 | 0.75 | – |"


# --- the command -----------------------------------------------------------------------------------------


def command(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["bench_baselines", *map(str, arguments)])
    code = 0
    try:
        bench_baselines.main()
    except SystemExit as stopped:
        code = stopped.code
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_the_command_writes_scores_and_summary(tmp_path, monkeypatch, capsys):
    zoo = make_zoo(tmp_path / "zoo")
    out = tmp_path / "out.json"
    trained, work = zoo.folder / "trained.safetensors", tmp_path / "work"
    code, told, _ = command(
        monkeypatch, capsys, zoo.folder, "--images", trained, "--methods", "akh,deepjudge-jsd",
        "--budget", "10", "--budget", "20", "--quiet", "--json", out, "--work", work,
    )  # fmt: skip
    assert code == 0
    assert told.count("\n| AKH |") == 2
    results = json.loads(out.read_text())
    assert [(r["method"], r["budget"]) for r in results["results"]] == [
        ("akh", 10), ("akh", 20), ("deepjudge-jsd", 10), ("deepjudge-jsd", 20)
    ]  # fmt: skip
    assert set(results["results"][0]["scores"]) == {"near", "moved", "far-5", "far-6", "other"}
    assert results["images"] == {"training": 32, "held_out": 16, "errors": 30}
    assert not (zoo.folder / "baselines").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--methods", "akh,nonsense"], "--methods must be among akh, ipguard.*got 'nonsense'"),
        (["--json", "/no/such/folder/x.json"], "the folder of --json must exist"),
        (["--own", "0"], "--own must be at least 1, got 0"),
        ([], "--images must name the source's training images"),
        (["--budget", "0", "--images", "TRAINED"], "budget must be an integer of at least 1, got 0"),
    ],
)
def test_the_command_refuses_nonsense(tmp_path, monkeypatch, capsys, arguments, message):
    zoo = make_zoo(tmp_path / "zoo")
    arguments = [str(zoo.folder / "trained.safetensors") if a == "TRAINED" else a for a in arguments]
    defaults = [] if "--methods" in arguments else ["--methods", "akh"]
    code, told, error = command(monkeypatch, capsys, zoo.folder, "--quiet", *defaults, *arguments)
    assert code in (1, 2)
    assert not told
    assert re.search(message, error)
