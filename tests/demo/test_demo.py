"""The demo in miniature: its files, its table, its determinism; nothing of the user's is lost."""

import json
import multiprocessing
import shlex
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from sac_fast.demo import data, folder, plan, run_demo
from sac_fast.demo import run as demo_run
from sac_fast.errors import ModelError
from sac_fast.fingerprint import Fingerprint, fingerprint
from sac_fast.labelled_zoo import engine
from sac_fast.labelled_zoo.engine import OutputFolderError
from sac_fast.models import Preprocessing, list_entries, load_model, open_model
from sac_fast.probes import ProbeSet

TINY = plan.Size(
    patches=16, test_patches=6, epochs=1, null=4, held_out=4, finetuned=1, rate=0.2,
    architectures=("plain", "residual"),
)  # fmt: skip


def run_tiny(out, workers, seed=0):
    return demo_run._run(out, TINY, seed, "pearson", "l1", workers, False)


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """A finished miniature demo by one worker: its folder and its results."""
    out = tmp_path_factory.mktemp("demo") / "made" / "here too"
    return out, run_tiny(out, 1)


# ---- a miniature demo


def test_results_json_is_what_is_returned(demo):
    out, results = demo
    assert json.loads((out / "results.json").read_text(encoding="utf-8")) == results
    assert results["finished"] is True


def test_files_are_those_listed_and_no_others(demo):
    out, results = demo
    written = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    assert written == {*results["files"], "results.json"}
    assert len(results["files"]) == 2 + 2 * (1 + len(results["models"]))


def test_manifest_says_how_to_run_every_model(demo):
    """What a scan of it stores is what the demo's fingerprints hold."""
    out, results = demo
    entries = list_entries(out / "zoo.csv")
    assert [entry.name for entry in entries] == ["source", *(row["name"] for row in results["models"])]
    probes = ProbeSet.load(out / "probes.safetensors")
    for entry, row in zip(entries, [None, *results["models"]], strict=True):
        role = "source" if row is None else row["role"]
        assert entry.tags == ("independent" if role in ("null", "held-out") else role,)
        with open_model(entry) as model:
            answers = model.run(entry.preprocessing(torch.from_numpy(probes.images.copy())))
        place = "null/" if role == "null" else ""
        kept = Fingerprint.load(out / f"fingerprints/{place}{entry.name}.safetensors").outputs
        assert torch.allclose(answers, kept, rtol=0, atol=1e-5)


def test_table_has_every_column(demo):
    _, results = demo
    assert len(results["models"]) == 4 + 4 + 2 * 1 + 2 * 2
    for row in results["models"]:
        assert list(row) == [
            "name", "origin", "truth", "role", "architecture", "accuracy", "distance",
            "p_value", "verdict", "correct", "reason",
        ]  # fmt: skip
        assert 0 <= row["accuracy"] <= 1
        assert 0 < row["distance"] <= 2
        assert row["truth"] == ("derived" if row["role"] == "suspect" else "independent")
    origins = {row["origin"] for row in results["models"]}
    assert origins == {
        "fine-tuned, all layers",
        "fine-tuned, last layer",
        "extracted by labels",
        "extracted by probabilities (T = 4)",
        "independent, defender's patches",
        "independent, attacker's patches",
    }
    assert results["source"]["origin"] == "source, defender's patches"
    assert "constant" in results["why"]


def test_distances_are_those_of_the_files(demo):
    """Recomputed in float64 from the fingerprint files: rows centred, correlated, mean absolute difference."""
    out, results = demo

    def matrix(name):
        outputs = Fingerprint.load(out / name).outputs.double().numpy()
        return np.corrcoef(outputs)

    source = matrix("fingerprints/source.safetensors")
    for row in results["models"]:
        place = "null/" if row["role"] == "null" else ""
        mine = matrix(f"fingerprints/{place}{row['name']}.safetensors")
        assert row["distance"] == pytest.approx(np.abs(source - mine).mean(), abs=1e-6)


def test_verdicts_follow_from_the_distances(demo):
    _, results = demo
    rows = results["models"]
    null = [row["distance"] for row in rows if row["role"] == "null"]
    assert results["null_count"] == len(null) == 4
    assert results["attainable_p_value"] == 0.2
    assert results["threshold"] == min(null)
    assert results["upper_bound"] == sorted(null)[1]
    for row in rows:
        if row["role"] == "null":
            assert [row[key] for key in ("p_value", "verdict", "correct", "reason")] == [None] * 4
            continue
        below = sum(distance <= row["distance"] for distance in null)
        assert row["p_value"] == (1 + below) / 5
        assert row["verdict"] == ["derived", "inconclusive", *["not distinguished"] * 3][below]
        right = {"derived": "derived", "independent": "not distinguished"}
        assert row["correct"] is (row["verdict"] == right[row["truth"]])


def test_auc_counts_pairs_of_derived_and_held_out(demo):
    _, results = demo

    def area(rows):
        far = [row["distance"] for row in results["models"] if row["role"] == "held-out"]
        pairs = [(near["distance"] < other) + 0.5 * (near["distance"] == other) for near in rows for other in far]
        return pytest.approx(sum(pairs) / len(pairs), abs=1e-12)

    derived = [row for row in results["models"] if row["truth"] == "derived"]
    assert results["auc"] == area(derived)
    assert results["auc_by_metric"]["pearson"] == results["auc"]
    assert set(results["auc_by_metric"]) == {"cosine", "pearson", "spearman", "rbf"}
    assert set(results["auc_by_theft"]) == set(plan.THEFTS)
    assert results["auc_by_theft"]["extract-labels"] == area(
        [row for row in derived if row["origin"] == "extracted by labels"]
    )


def test_probes_are_the_compressed_test_patches(demo):
    out, results = demo
    probes = ProbeSet.load(out / "probes.safetensors")
    test = data.make_task(0, patches=16, test_patches=6).test
    expected = ProbeSet.from_arrays(test.pixels, test.labels, layout="NHWC").jpeg(
        severity=results["settings"]["jpeg_severity"]
    )
    assert np.array_equal(probes.images, expected.images)
    assert np.array_equal(probes.labels, test.labels)
    assert results["settings"]["jpeg_quality"] == 25
    assert results["settings"]["probes"] == len(probes) == 60


def test_printed_commands_reproduce_a_row(demo, tmp_path):
    """What the two commands say, done with the API: the same distance as in the table."""
    out, results = demo
    first, second = (shlex.split(command) for command in results["reproduce"])
    assert first[:2] == ["sac-fast", "fingerprint"]
    assert second[:2] == ["sac-fast", "verify"]
    said = dict(zip(first[3::2], first[4::2], strict=True))
    model = load_model(first[2], weights=said["--weights"], kwargs=json.loads(said["--model-args"]))
    mean, std = (tuple(map(float, said[key].split(","))) for key in ("--mean", "--std"))
    again = fingerprint(model, ProbeSet.load(said["--probes"]), preprocessing=Preprocessing(mean=mean, std=std))
    source = Fingerprint.load(second[2])
    assert second[3] == said["--out"]
    row = next(row for row in results["models"] if f"{row['name']}.safetensors" == said["--out"])
    judged = dict(zip(second[4::2], second[5::2], strict=True))
    assert source.distance(again, metric=judged["--metric"]) == pytest.approx(row["distance"], abs=1e-9)
    assert float(judged["--alpha"]) == 0.2
    null = sorted(path.stem for path in (out / "fingerprints" / "null").iterdir())
    assert judged["--null"] == str(out / "fingerprints" / "null")
    assert null == sorted(row["name"] for row in results["models"] if row["role"] == "null")


def test_two_workers_give_the_same_table_and_the_same_weights(demo, tmp_path):
    out, results = demo
    again = run_tiny(tmp_path, 2)
    for key in ("models", "source", "auc", "auc_by_theft", "auc_by_metric", "threshold", "settings"):
        assert again[key] == results[key]
    for path in (out / "models").iterdir():
        one, other = load_file(path), load_file(tmp_path / "models" / path.name)
        assert list(one) == list(other)
        assert all(torch.equal(one[key], other[key]) for key in one)
    assert multiprocessing.active_children() == []


def test_interrupted_demo_leaves_no_process_and_can_be_run_again(monkeypatch, tmp_path):
    def interrupt(iterable, *args, **options):
        yield next(iter(iterable))
        raise KeyboardInterrupt

    monkeypatch.setattr(engine, "track", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run_tiny(tmp_path, 1)
    assert multiprocessing.active_children() == []
    assert json.loads((tmp_path / "results.json").read_text())["finished"] is False
    assert not list(tmp_path.rglob("*.tmp"))
    folder.prepare(tmp_path, plan.plan(TINY, 0))
    assert not list((tmp_path / "models").iterdir())


def test_second_demo_in_one_folder_is_refused(demo):
    out, _ = demo
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    with engine.lock_folder(out), pytest.raises(OutputFolderError, match=rf"one run at a time, got {out}"):
        run_tiny(out, 1)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()} == before


def test_dead_worker_is_an_error_and_not_a_wait(monkeypatch, tmp_path):
    monkeypatch.setattr(engine, "start_worker", divmod)  # called with a trainer and an event, it fails at once
    with pytest.raises(ModelError, match="a training process must stay alive"):
        run_tiny(tmp_path, 1)
    assert multiprocessing.active_children() == []


# ---- the output folder


def test_foreign_folder_is_refused_and_left_as_it_was(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(OutputFolderError, match="out must be a new or empty folder"):
        run_demo(tmp_path, quick=True)
    (tmp_path / "results.json").write_text('{"kind": "something else"}')
    with pytest.raises(OutputFolderError, match="which holds something else"):
        run_demo(tmp_path, quick=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["results.json", "thesis.txt"]
    with pytest.raises(OutputFolderError, match="out must be a folder, got the file"):
        run_demo(tmp_path / "thesis.txt", quick=True)


def test_earlier_demo_is_replaced_and_the_users_files_stay(tmp_path):
    larger, smaller = plan.plan(replace(TINY, null=6), 0), plan.plan(TINY, 0)
    folder.prepare(tmp_path, larger)
    for name in folder.planned_files(larger):
        (tmp_path / name).write_text("old")
    (tmp_path / "models" / "mine.safetensors").write_text("mine")
    (tmp_path / "notes.txt").write_text("mine")
    folder.prepare(tmp_path, smaller)
    left = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    assert left == ["models/mine.safetensors", "notes.txt", "results.json"]


def test_users_file_under_a_name_of_the_demo_is_not_overwritten(tmp_path):
    folder.write_results(tmp_path, {"kind": folder.KIND, "files": []})
    (tmp_path / "probes.safetensors").write_text("mine")
    with pytest.raises(OutputFolderError, match=r"out must not hold files .*probes\.safetensors"):
        folder.prepare(tmp_path, plan.plan(TINY, 0))
    assert (tmp_path / "probes.safetensors").read_text() == "mine"


@pytest.mark.parametrize(
    "name",
    ["../precious.safetensors", "models/../../precious.safetensors", "notes.txt", "models/a.safetensors\n", 7],
)
def test_results_json_of_a_stranger_removes_nothing_else(tmp_path, name):
    out = tmp_path / "out"
    (out / "models").mkdir(parents=True)
    for path in (tmp_path / "precious.safetensors", out / "notes.txt", out / "models" / "a.safetensors"):
        path.write_text("precious")
    folder.write_results(out, {"kind": folder.KIND, "files": [name]})
    folder.prepare(out, plan.plan(TINY, 0))
    for path in (tmp_path / "precious.safetensors", out / "notes.txt", out / "models" / "a.safetensors"):
        assert path.read_text() == "precious"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"seed": -1}, "seed must be an integer in 0…281474976710655, got -1"),
        ({"seed": 0.5}, "seed must be an integer in 0…281474976710655, got 0.5"),
        ({"seed": 2**48}, "seed must be an integer in 0…281474976710655, got 281474976710656"),
        ({"workers": 0}, "workers must be an integer of at least 1, got 0"),
        ({"metric": "pearsn"}, "metric must .*pearsn"),
        ({"comparison": "l3"}, "comparison must .*l3"),
    ],
)
def test_wrong_arguments_cost_no_training(tmp_path, options, words):
    with pytest.raises(ValueError, match=words):
        run_demo(tmp_path / "out", quick=True, **options)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_quick_demo_shows_what_it_must(tmp_path):
    """Accuracy ≥ 90 %; every fine-tuned and distilled model is nearer than every independent; in time."""
    results = run_demo(tmp_path, quick=True, progress=False)
    independents = [row for row in results["models"] if row["truth"] == "independent"]
    sure = [row for row in results["models"] if row["origin"].startswith(("fine-tuned", "extracted by probabilities"))]
    assert results["source"]["accuracy"] >= 0.9
    assert min(row["accuracy"] for row in independents) >= 0.9
    assert len(sure) == 5
    assert max(row["distance"] for row in sure) < min(row["distance"] for row in independents)
    assert all(row["verdict"] == "derived" for row in sure)
