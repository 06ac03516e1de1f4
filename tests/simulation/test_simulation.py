"""Simulations: what is planned, what is kept, and that nothing is made twice or lost."""

import dataclasses
import json
import os
import threading
from unittest import mock

import numpy as np
import pytest
import torch
from support.siblings import run_jobs_here
from typer.testing import CliRunner

from sac_fast.attacks import ATTACKS, TrainingConfig
from sac_fast.cli.main import app
from sac_fast.demo import architectures
from sac_fast.errors import ModelError
from sac_fast.labelled_zoo import trainer
from sac_fast.labelled_zoo.engine import OutputFolderError
from sac_fast.labelled_zoo.folder import LabelledZoo
from sac_fast.labelled_zoo.training_pool import StoppedError
from sac_fast.models import Preprocessing, load_model, save_weights, weights_hash
from sac_fast.probes import ProbeSet
from sac_fast.simulation import Architecture, Images, Setting, plan, run_plan
from sac_fast.simulation.plan import obstacle
from sac_fast.simulation.trainer import SimulationTrainer

PLAIN = Architecture("sac_fast.demo.architectures:plain", {"classes": 4})
RESIDUAL = Architecture("sac_fast.demo.architectures:residual", {"classes": 4})
CONFIG = TrainingConfig(epochs=1, batch_size=16, learning_rate=0.02)


def make_source(seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return architectures.plain(4)


def make_images(seed=0, rows=40, labelled=True):
    generator = np.random.default_rng(seed)
    pixels = generator.integers(0, 256, (rows, 32, 32, 3), dtype=np.uint8)
    return ProbeSet.from_arrays(pixels, np.arange(rows) % 4 if labelled else None, layout="NHWC")


def make_setting(source, **changes):
    setting = Setting(
        PLAIN, weights_hash(source), 4, Preprocessing(mean=(0.5,), std=(0.25,)),
        Images.split(make_images(), None, 0), config=CONFIG, tuning=CONFIG,
    )  # fmt: skip
    return dataclasses.replace(setting, **changes)


def test_every_fifth_image_is_held_out_and_none_is_on_both_sides():
    images = make_images()
    split = Images.split(images, None, 3)
    assert (len(split.train), len(split.test)) == (32, 8)
    both = np.concatenate([split.train.images, split.test.images]).reshape(40, -1)
    assert len(np.unique(both, axis=0)) == 40
    assert Images.split(images, images, 3).train is images
    assert Images.split(make_images(labelled=False), None, 0).test is None


def test_plan_names_seeds_and_variants():
    setting = make_setting(make_source())
    members = plan(setting, ["fine-prune", "quantize-int8", "extract-labels"], students=[PLAIN, RESIDUAL], copies=5)
    assert [m.name for m in members] == [
        *(f"fine-prune-{i}" for i in range(1, 6)),
        *(f"quantize-int8-{i}" for i in range(1, 5)),  # its four variants: there is no randomness for a fifth
        *(f"extract-labels-{kind}-{i}" for kind in ("plain", "residual") for i in range(1, 6)),
    ]
    assert [m.options["ratio"] for m in members[:5]] == [0.3, 0.5, 0.7, 0.9, 0.3]
    assert len({m.seed for m in members}) == len(members)
    larger = {m.name: m for m in plan(setting, list(ATTACKS)[2:11:3], students=[RESIDUAL, PLAIN], copies=7)}
    assert larger["fine-prune-3"] == members[2]
    assert plan(setting, ["fine-prune"], seed=1)[0].seed != members[0].seed


def test_labels_are_different_also_where_a_name_looks_numbered():
    def labels(*specs):
        members = plan(make_setting(make_source()), ["extract-labels"], students=[Architecture(s, {}) for s in specs])
        return [m.name.removeprefix("extract-labels-").removesuffix("-1") for m in members]

    assert labels("a:tiny", "b:tiny", "b:other") == ["tiny1", "tiny2", "other"]
    assert labels("a:tiny", "b:tiny", "b:tiny1") == ["tiny2", "tiny3", "tiny1"]
    assert labels("b:tiny1", "a:tiny1", "a:tiny") == ["tiny11", "tiny12", "tiny"]
    eleven = labels(*["a:tiny"] * 11, "a:tiny1", "b:tiny1")
    assert eleven == [*(f"tiny{i}" for i in range(1, 12)), "tiny12", "tiny13"]


def test_independents_are_of_the_kinds_that_the_images_allow():
    setting = make_setting(make_source())
    assert [m.name for m in plan(setting, [], independents=2)] == ["other-data-plain-1", "other-data-plain-2"]
    owner = Images.split(make_images(7), None, 0)
    members = plan(dataclasses.replace(setting, owner=owner), [], students=[PLAIN, RESIDUAL], independents=2)
    assert [(m.origin, m.architecture.label) for m in members] == [
        ("other-data", "plain"),
        ("other-data", "residual"),
        ("same-data", "residual"),
        ("same-data", "residual"),
        ("same-data-same-architecture", "plain"),
        ("same-data-same-architecture", "plain"),
    ]
    assert members[0].provenance["data"] == {"images": setting.thief.hash}
    assert members[2].provenance["data"] == {"images": owner.hash}


def test_plan_hash_covers_what_decides_the_model():
    setting = make_setting(make_source())
    (first,) = plan(setting, ["finetune-all"])
    for other in (
        make_setting(make_source(1)),
        dataclasses.replace(setting, tuning=TrainingConfig(epochs=2, batch_size=16)),
        dataclasses.replace(setting, preprocessing=Preprocessing()),
        dataclasses.replace(setting, thief=Images.split(make_images(1), None, 0)),
    ):
        assert plan(other, ["finetune-all"])[0].plan_hash != first.plan_hash
    assert plan(make_setting(make_source()), ["finetune-all"])[0].plan_hash == first.plan_hash


def test_refusals():
    setting = make_setting(make_source())
    for attacks, options, words in (
        (["fine-tune"], {}, "attacks must be among finetune-all, .* got 'fine-tune'"),
        (["extract-knockoff"], {}, "attack extract-knockoff needs surrogate images"),
        ([], {"copies": 0}, "copies must be in 1…10000, got 0"),
        ([], {"copies": 10**400}, "copies must be in 1…10000, got 1000"),
        ([], {"independents": 10_001}, "independents must be in 0…10000, got 10001"),
    ):
        with pytest.raises(ValueError, match=words):
            plan(setting, attacks, **options)
    with pytest.raises(ModelError, match=r"labels of the data must lie in 0…1, as the source has 2 outputs, got 3"):
        plan(dataclasses.replace(setting, outputs=2), [])
    bare = dataclasses.replace(setting, thief=Images(make_images(labelled=False), None))
    assert obstacle(ATTACKS["finetune-all"], bare) == "needs labels of the thief's images"
    assert obstacle(ATTACKS["extract-labels"], bare) is None


def test_simulation_goes_on_where_it_was(tmp_path, monkeypatch):
    source = make_source()
    setting = make_setting(source)
    zoo = tmp_path / "zoo"
    members = plan(setting, ["finetune-last", "transfer-last", "quantize-int8"])
    probes = {"plain": make_images(9, rows=6)}
    first = run_plan(zoo, source, setting, members, probes=probes, workers=1, progress=False)
    assert first["made"] == ["finetune-last-1", "transfer-last-1", "quantize-int8-1"]
    assert first["failed"] == {}
    loaded = LabelledZoo.load(zoo)
    assert [m.name for m in loaded.members] == ["source", *first["made"]]
    for member in loaded.members:
        model = load_model(member.architecture, weights=loaded.weights_file(member), kwargs=member.architecture_args)
        answers = loaded.load_fingerprint("plain", member)
        assert answers.outputs.shape == (6, 2 if member.origin == "transfer-last" else 4)
        assert answers.model_hash == weights_hash(model) == member.details["weights"]
        assert 0 <= member.accuracy <= 1

    run_jobs_here(monkeypatch)  # the first run had its process
    times = {path: path.stat().st_mtime_ns for path in (zoo / "models").iterdir()}
    again = run_plan(zoo, source, setting, members, probes=probes, workers=1, progress=False)
    assert (again["made"], again["kept"]) == ([], first["made"])
    assert {path: path.stat().st_mtime_ns for path in (zoo / "models").iterdir()} == times

    # Cut off, missing, of another plan hash: these are made again, and come out the same where the plan is the same.
    digest = loaded.members[1].details["weights"]
    os.truncate(loaded.weights_file("finetune-last-1"), 1000)
    loaded.weights_file("quantize-int8-1").unlink()
    third = run_plan(zoo, source, setting, members[:1] + members[2:], workers=1, progress=False)
    assert third["made"] == ["finetune-last-1", "quantize-int8-1"]
    assert third["other"] == ["transfer-last-1"]  # of no plan now, and still there
    healed = {m.name: m for m in LabelledZoo.load(zoo).members}
    assert healed["finetune-last-1"].details["weights"] == digest

    with pytest.raises(OutputFolderError, match="out must be a new folder or a labelled zoo of the source"):
        run_plan(zoo, make_source(1), make_setting(make_source(1)), [], progress=False)
    with pytest.raises(OutputFolderError, match="probes 'plain' must be the same as those in the labelled zoo"):
        run_plan(zoo, source, setting, [], probes={"plain": make_images(1)}, progress=False)


def test_a_student_that_fails_is_told_and_ends_nothing_else(tmp_path, monkeypatch):
    """Whatever it raises; only the order to stop goes through."""
    source = make_source()
    narrow = Architecture("torch.nn:Linear", {"in_features": 7, "out_features": 4})  # our rows have 32 columns
    setting = make_setting(source)
    zoo = tmp_path / "zoo"
    result = run_plan(zoo, source, setting, [], workers=1, progress=False)
    assert result["failed"] == {}
    stop = threading.Event()
    worker = SimulationTrainer(setting, LabelledZoo.load(zoo))
    worker.stop = stop
    monkeypatch.setattr(trainer, "_trainer", worker)
    job = plan(setting, [], students=[narrow], independents=1)[0]
    failure = trainer.make_member(job)
    assert isinstance(failure, trainer.Failure)
    assert failure.name == "other-data-linear-1"
    assert "shapes cannot be multiplied" in failure.reason
    (good,) = plan(setting, [], independents=1)
    for error in (KeyError("stem"), AssertionError("size"), ZeroDivisionError("scale")):
        monkeypatch.setattr(worker, "build", mock.Mock(side_effect=error))
        assert trainer.make_member(good) == trainer.Failure(good.name, f"{type(error).__name__}: {error}")
    monkeypatch.undo()
    monkeypatch.setattr(trainer, "_trainer", worker)
    stop.set()
    with pytest.raises(StoppedError):
        trainer.make_member(good)


def test_simulation_refuses_a_folder_with_something_else(tmp_path):
    (tmp_path / "holiday.jpg").write_bytes(b"x")
    source = make_source()
    with pytest.raises(OutputFolderError, match=r"out must be a new or empty folder, or one with a zoo\.json"):
        run_plan(tmp_path, source, make_setting(source), [], progress=False)
    assert [path.name for path in tmp_path.iterdir()] == ["holiday.jpg"]


def test_command_line(tmp_path, monkeypatch):
    run_jobs_here(monkeypatch)
    save_weights(tmp_path / "source.safetensors", make_source())
    make_images().save(tmp_path / "thief.safetensors")
    common = [
        "simulate",
        "--model",
        PLAIN.spec,
        "--model-args",
        '{"classes": 4}',
        "-q",
        "--out",
        str(tmp_path / "zoo"),
    ]
    common += ["--out", str(tmp_path / "zoo")]
    common += ["--weights", str(tmp_path / "source.safetensors"), "--data", str(tmp_path / "thief.safetensors")]
    run = CliRunner().invoke
    done = run(app, [*common, "--attacks", "quantize-int8,weight-noise", "--workers", "1", "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["made"] == ["quantize-int8-1", "weight-noise-1"]
    shown = run(app, [*common, "--attacks", "quantize-int8", "--workers", "1"])
    assert "0 made, 1 there already, 0 failed" in shown.stdout
    for wrong in (["--attacks", "magic"], ["--student", "a:b {"], ["--student", "a:b [1]"], ["--mean", "x"]):
        assert run(app, [*common, *wrong]).exit_code == 2
    probes = []
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        make_images(rows=2).save(tmp_path / folder / "p.safetensors")
        probes += ["--probes", str(tmp_path / folder / "p.safetensors")]
    refused = run(app, [*common, "--attacks", "quantize-int8", *probes])
    assert refused.exit_code == 2
    words = "".join(refused.output.split())
    assert probes[1] in words
    assert probes[3] in words
