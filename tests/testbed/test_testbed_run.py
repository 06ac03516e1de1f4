"""A test bed in miniature: its folder, its determinism, what becomes of stopped and damaged runs."""

import dataclasses
import json
import multiprocessing
import shutil
import signal
import threading

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from sac_fast.attacks.registry import ATTACKS
from sac_fast.cli.render.testbed import show_zoo
from sac_fast.errors import FileFormatError, ModelError
from sac_fast.fingerprint import fingerprint
from sac_fast.labelled_zoo import engine, trainer
from sac_fast.labelled_zoo.engine import OutputFolderError
from sac_fast.labelled_zoo.folder import LabelledZoo
from sac_fast.labelled_zoo.summary import summarise
from sac_fast.models import load_model, weights_hash
from sac_fast.testbed import patches, plan, probes, run

COUNTS = patches.Counts(
    defender=12, attacker=12, test=6, pool=40, surrogate=4, transfer=8, transfer_test=6
)  # fmt: skip
SIZE = plan.Size(
    images=64,
    tuning=32,
    independents={"same-data-same-architecture": (1, ("vgg",)), "other-data": (1, ("mixer",))},
    stolen={"finetune-all": (1, ("vgg",)), "extract-labels": (1, ("resnet",)), "transfer-last": (1, ("vgg",))},
    probes=16,
)
KINDS = {"vgg": {"width": 4}, "resnet": {"width": 4}, "mixer": {"tile": 8, "channels": 8}}


@pytest.fixture(scope="module")
def task():
    return patches.make_patches(0, COUNTS, classes=("brick", "coffee", "ihc"), transfer_classes=("coins", "cell"))


@pytest.fixture(scope="module")
def made(task, tmp_path_factory):
    """A finished miniature by two worker processes."""
    return train(tmp_path_factory.mktemp("bed") / "new", task, workers=2)


def train(out, task, size=SIZE, **options):
    return run.run_testbed(out, task, size=size, architectures=KINDS, progress=False, **options)


@pytest.fixture
def here(monkeypatch):
    """Members are made in this process: the same code without the seconds that a new process takes."""

    def in_this_process(jobs, make, start, arguments, *, workers=None, after=None):
        start(*arguments, threading.Event())
        for job in jobs:
            yield job, make(job)

    threads, handler = torch.get_num_threads(), signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(engine, "in_processes", in_this_process)
    monkeypatch.setattr(trainer, "_trainer", None)
    yield
    torch.set_num_threads(threads)
    signal.signal(signal.SIGINT, handler)


def copied(zoo, folder):
    shutil.copytree(zoo.folder, folder)
    return LabelledZoo.load(folder)


def hashes(zoo):
    return {path.name: load_file(path) for path in (zoo.folder / "models").iterdir()}


def test_folder_is_a_complete_labelled_zoo(made, task):
    zoo = LabelledZoo.load(made.folder)
    assert zoo == made
    assert multiprocessing.active_children() == []
    assert [m.name for m in zoo.members] == [m.name for m in plan.plan(SIZE, names=tuple(KINDS))]
    assert zoo.probes == probes.NAMES == (
        "plain", "jpeg-q25", "jpeg-q18", "jpeg-q15", "jpeg-q10", "jpeg-q7", "misclassified", "cutmix",
    )  # fmt: skip
    for member in zoo.members:
        model = load_model(member.architecture, weights=zoo.weights_file(member), kwargs=member.architecture_args)
        assert weights_hash(model) == member.details["weights"]
        for name in zoo.probes:
            kept = zoo.load_fingerprint(name, member)
            assert kept.probe_hash == zoo.load_probes(name).content_hash
            assert kept.model_hash == member.details["weights"]
            assert kept.outputs.shape[1] == (2 if member.origin.startswith("transfer") else 3)
        assert member.seconds > 0
    assert zoo.task["classes"] == ["brick", "coffee", "ihc"]
    assert zoo.task["images"] == {
        "defender": 36, "attacker": 36, "test": 18, "pool": 120, "surrogate": 20, "transfer": 16, "transfer_test": 12,
    }  # fmt: skip
    assert not list(zoo.folder.rglob("*.tmp"))


def test_accuracy_is_that_of_the_written_weights_on_the_right_labels(made, task):
    for member in made.members:
        images = task.transfer_test if member.origin.startswith("transfer") else task.test
        model = load_model(member.architecture, weights=made.weights_file(member), kwargs=member.architecture_args)
        with torch.inference_mode():
            answers = model.eval()(task.preprocessing(torch.from_numpy(images.pixels))).argmax(1).numpy()
        assert member.accuracy == pytest.approx((answers == images.labels).mean(), abs=1e-9)


def test_probes_come_from_the_pool_and_the_misclassified_ones_are(made, task):
    plain, wrong = made.load_probes("plain"), made.load_probes("misclassified")
    assert np.array_equal(plain.images, task.pool.pixels[:16])
    assert np.array_equal(plain.labels, task.pool.labels[:16])
    source = made.load_fingerprint("misclassified", "source")
    assert 0 < len(wrong) <= 16
    assert (source.outputs.argmax(1).numpy() != wrong.labels).all()
    rest = {image.tobytes() for image in task.pool.pixels[16:]}
    assert all(image.tobytes() in rest for image in wrong.images)
    for name, quality in (("jpeg-q25", 25), ("jpeg-q7", 7)):
        assert np.array_equal(made.load_probes(name).images, plain.jpeg(quality=quality).images)
    assert not np.array_equal(made.load_probes("cutmix").images, plain.images)


def test_fingerprints_are_those_of_the_models(made, task):
    member = made.of_role("stolen")[0]
    model = load_model(member.architecture, weights=made.weights_file(member), kwargs=member.architecture_args)
    again = fingerprint(model, made.load_probes("jpeg-q7"), preprocessing=task.preprocessing)
    torch.testing.assert_close(again.outputs, made.load_fingerprint("jpeg-q7", member).outputs, rtol=1e-4, atol=1e-5)


def test_one_process_gives_the_same_weights_and_fingerprints_as_two_workers(made, task, tmp_path, here):
    alone = train(tmp_path / "alone", task)
    one, two = hashes(alone), hashes(made)
    assert one.keys() == two.keys()
    for name, weights in one.items():
        assert all(torch.equal(weights[key], two[name][key]) for key in weights)
    for member in made.members:
        for name in made.probes:
            mine, other = alone.load_fingerprint(name, member), made.load_fingerprint(name, member)
            assert torch.equal(mine.outputs, other.outputs)
    assert [(m.name, m.accuracy) for m in alone.members] == [(m.name, m.accuracy) for m in made.members]


def test_stopped_run_goes_on_and_ends_the_same(made, task, tmp_path, here):
    def interrupt(iterable, *args, **options):
        for index, item in enumerate(iterable):
            if index == 2:
                raise KeyboardInterrupt
            yield item

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "track", interrupt)
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path / "bed", task)
    partial = LabelledZoo.load(tmp_path / "bed")
    names = {member.name for member in partial.members}
    assert 2 <= len(names) < len(made.members)
    for member in partial.members:  # a partial zoo is whole in what it lists
        assert all(partial.fingerprint_file(name, member).exists() for name in partial.probes)
    before = {name: partial.weights_file(name).stat().st_mtime_ns for name in names}
    finished = train(tmp_path / "bed", task)
    assert {name: finished.weights_file(name).stat().st_mtime_ns for name in names} == before
    assert [m.details["weights"] for m in finished.members] == [m.details["weights"] for m in made.members]


def test_what_was_removed_is_made_again(made, task, tmp_path, here):
    zoo = copied(made, tmp_path / "bed")
    stolen = zoo.of_role("stolen")[0]
    zoo.weights_file(stolen).unlink()
    zoo.fingerprint_file("cutmix", "source").unlink()
    again = train(tmp_path / "bed", task)
    assert [m.details["weights"] for m in again.members] == [m.details["weights"] for m in made.members]
    assert again.fingerprint_file("cutmix", "source").exists()


def test_larger_size_adds_models_and_keeps_the_others(made, task, tmp_path, here):
    zoo = copied(made, tmp_path / "bed")
    size = dataclasses.replace(SIZE, stolen={**SIZE.stolen, "weight-noise": (1, ("vgg",))})
    larger = train(tmp_path / "bed", task, size)
    assert {m.name for m in larger.members} - {m.name for m in zoo.members} == {"weight-noise-01-vgg"}
    assert larger.source == zoo.source


def test_another_test_bed_in_the_folder_is_refused(made, task, tmp_path):
    with pytest.raises(OutputFolderError, match="another one: it differs in testbed"):
        train(made.folder, task, dataclasses.replace(SIZE, images=65))
    other = patches.make_patches(1, COUNTS, classes=("brick", "coffee", "ihc"), transfer_classes=("coins", "cell"))
    with pytest.raises(OutputFolderError, match="it differs in hash, seed"):
        train(made.folder, other)
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(OutputFolderError, match=r"out must be a new or empty folder.*thesis\.txt"):
        train(tmp_path, task)
    with pytest.raises(OutputFolderError, match="out must be a folder, got the file"):
        train(tmp_path / "thesis.txt", task)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_what_a_killed_run_left_of_a_file_is_no_stranger(made, task, tmp_path, here):
    """Killed while it wrote the source's weights, and another one while it wrote the first zoo.json."""
    for folder in (tmp_path / "models", tmp_path):
        folder.mkdir(exist_ok=True)
        (folder / ".sac_fast-0123456789abcdef.tmp").write_bytes(b"half")
    for stranger in (".sac_fast-0123456789abcdeg.tmp", "models/deeper/.sac_fast-0123456789abcdef.tmp"):
        path = tmp_path / stranger
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"not ours")
        with pytest.raises(OutputFolderError, match=r"got .* with '\.sac_fast-|with 'deeper'"):
            train(tmp_path, task)
        path.unlink()
    (tmp_path / "models/deeper").rmdir()
    assert run._resume(tmp_path, {}) is None


def test_one_run_at_a_time(made, task, tmp_path):
    from sac_fast.store.lock import WriterLock

    copied(made, tmp_path / "bed")
    lock = WriterLock(tmp_path / "bed")
    with pytest.raises(OutputFolderError, match=r"one run at a time, got .*another one is at work \(process \d+\)"):
        train(tmp_path / "bed", task)
    lock.release()
    assert train(tmp_path / "bed", task) == LabelledZoo.load(tmp_path / "bed")


def test_lost_weights_of_the_source_are_an_error(made, task, tmp_path):
    zoo = copied(made, tmp_path / "bed")
    zoo.weights_file("source").unlink()
    with pytest.raises(OutputFolderError, match="out must hold the source's weights"):
        train(tmp_path / "bed", task)


def test_one_failure_costs_no_other_model(made, task, tmp_path, here):
    zoo = copied(made, tmp_path / "bed")
    size = dataclasses.replace(SIZE, stolen={**SIZE.stolen, "extract-soft-t4": (2, ("resnet", "nothing"))})
    with pytest.raises(ModelError, match=r"1 of \d+ models failed.*extract-soft-t4-02-nothing: KeyError"):
        train(tmp_path / "bed", task, size)
    names = {m.name for m in LabelledZoo.load(tmp_path / "bed").members}
    assert names - {m.name for m in zoo.members} == {"extract-soft-t4-01-resnet"}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"seed": -1}, "seed must be an integer in 0…281474976710655, got -1"),
        ({"seed": 2**48}, "seed must be an integer in 0…281474976710655, got 281474976710656"),
        ({"workers": 0}, "workers must be an integer"),
    ],
)
def test_wrong_arguments_touch_nothing(task, tmp_path, options, words):
    with pytest.raises(ValueError, match=words):
        train(tmp_path / "out", task, **options)
    assert not (tmp_path / "out").exists()


def test_work_needs_a_prepared_process():
    with pytest.raises(RuntimeError, match="prepared by start_worker"):
        trainer.make_member(plan.plan(SIZE)[0])


def test_summary_counts_and_names_what_is_below(made):
    found = summarise(made)
    assert found["models"] == len(made.members) == 6
    assert [(g["role"], g["origin"], g["count"]) for g in found["groups"]] == [
        ("source", "source", 1),
        ("stolen", "extract-labels", 1),
        ("stolen", "finetune-all", 1),
        ("stolen", "transfer-last", 1),
        ("independent", "other-data", 1),
        ("independent", "same-data-same-architecture", 1),
    ]
    low = {m.name for m in made.members if m.accuracy < (0.8 if m.role == "stolen" else 0.85)}
    assert {row["name"] for row in found["below"]} == low
    assert json.loads(json.dumps(found)) == found


def test_a_strangers_zoo_writes_nothing_to_the_terminal_but_text(made, task, tmp_path, run, capsys):
    zoo = copied(made, tmp_path / "bed")
    index = json.loads((zoo.folder / "zoo.json").read_text())
    index["members"][-1] |= {"origin": "x\x1b]0;title\x07\u202e"}
    (zoo.folder / "zoo.json").write_text(json.dumps(index))
    code, out, _ = run("testbed", "show", zoo.folder)
    assert code == 0
    assert r"x\x1b]0;title\x07\u202e" in out
    show_zoo({**summarise(made), "left_out": [{"file": "a\x1b[31m", "reason": "b\x1b[0m"}]}, False)
    assert "left out: a\\x1b[31m: b\\x1b[0m\n" in capsys.readouterr().out
    index["task"] = [1]
    (zoo.folder / "zoo.json").write_text(json.dumps(index))
    code, out, err = run("testbed", "show", zoo.folder)
    assert (code, out) == (1, "")
    assert "task must be a mapping, got [1]" in err
    with pytest.raises(FileFormatError, match=r"task must be a mapping, got \[1\]"):
        train(zoo.folder, task)


def test_command_line_shows_a_zoo_and_refuses_nonsense(made, tmp_path, run):
    code, out, _ = run("testbed", "show", made.folder, "--json")
    assert code == 0
    assert json.loads(out)["models"] == 6
    code, out, _ = run("testbed", "show", made.folder)
    assert code == 0
    assert "same-data-same-architecture" in out
    code, _, err = run("testbed", "train", "--out", tmp_path / "x", "--task", "nonsense", "--quiet")
    assert code == 1
    assert "task must be patches" in err
    code, _, err = run("testbed", "show", tmp_path)
    assert code == 1
    assert "cannot read" in err


@pytest.mark.slow
def test_every_attack_runs_in_a_test_bed(task, tmp_path, here):
    size = dataclasses.replace(SIZE, independents={}, stolen={origin: (1, ("resnet",)) for origin in ATTACKS})
    zoo = train(tmp_path / "bed", task, size)
    assert {m.origin for m in zoo.of_role("stolen")} == set(ATTACKS)
