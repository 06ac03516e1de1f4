"""The demo in miniature: its files, its table, its determinism; nothing of the user's is lost."""

import json
import multiprocessing
import shlex

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import sac_fast
from sac_fast.attacks import ATTACKS
from sac_fast.demo import data, folder, plan, run_demo
from sac_fast.demo import run as demo_run
from sac_fast.errors import ModelError
from sac_fast.fingerprint import Fingerprint, fingerprint
from sac_fast.labelled_zoo import engine
from sac_fast.labelled_zoo.engine import OutputFolderError
from sac_fast.labelled_zoo.siblings_folder import sibling_fingerprints
from sac_fast.models import Preprocessing, list_entries, load_model, open_model
from sac_fast.probes import ProbeSet

TINY = plan.Size(
    patches=16, test_patches=20, epochs=1, siblings=4, students=("residual",),
    independents=(("plain", "defender", False), ("residual", "attacker", False), ("plain", "attacker", True)),
    null_alpha=0.25,
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
    # backbone, source, 4 siblings and 9 suspects with weights and fingerprints, two APIs with fingerprints
    assert len(results["files"]) == 2 + 2 * (6 + 9) + 2
    names = sorted(path.name for path in (out / "fingerprints" / "siblings").iterdir())
    assert names == [f"sibling-0{i}.safetensors" for i in range(1, 5)]


def test_manifest_says_how_to_run_every_model(demo):
    """What a scan of it stores is what the demo's fingerprints hold."""
    out, results = demo
    entries = list_entries(out / "zoo.csv")
    others = ["backbone", "source", *(f"sibling-0{i}" for i in range(1, 5))]
    assert [entry.name for entry in entries] == [*others, *(row["name"] for row in results["models"])]
    tags = [entry.tags for entry in entries]
    assert tags == [
        *(("backbone",), ("source",)), *[("sibling",)] * 4, *[("independent",)] * 3, *[("suspect",)] * 8,
    ]  # fmt: skip
    probes = ProbeSet.load(out / "probes.safetensors")
    folders = {"sibling": "siblings/", "independent": "independents/"}
    for entry in entries:
        with open_model(entry) as model:
            answers = model.run(entry.preprocessing(torch.from_numpy(probes.images.copy())))
            assert model.recorded == entry.name.startswith("api-")
        kept = Fingerprint.load(out / f"fingerprints/{folders.get(entry.tags[0], '')}{entry.name}.safetensors")
        assert torch.allclose(answers, kept.outputs, rtol=0, atol=1e-5)
        assert kept.output_form == {"api-labels": "labels", "api-probabilities": "probabilities"}.get(
            entry.name, "logits"
        )


def test_table_has_every_column(demo):
    _, results = demo
    for row in results["models"]:
        assert list(row) == [
            "name", "origin", "truth", "kind", "takes", "architecture", "accuracy", "output_form", "p_exact",
            "p_adjusted",
            "p_student", "verdict", "reason", "correct", "weights", "distance", "null_p_value", "null_verdict",
        ]  # fmt: skip
        assert 0 <= row["accuracy"] <= 1
        assert 0 <= row["distance"] <= 2
        assert (row["kind"] is None) == (row["truth"] == "derived")
        assert (row["weights"] is None) == row["name"].startswith("api-")
        assert (row["takes"] is None) == (row["truth"] == "independent")
    assert [(row["origin"], row["kind"]) for row in results["models"]] == [
        ("honest: same data, same network", "same-data-same-architecture"),
        ("honest: other data, residual network", "other-data"),
        ("honest: other data, same backbone", "same-backbone"),
        ("fine-tuned, all layers", None),
        ("fine-tuned, last layer", None),
        ("half of the weights pruned, fine-tuned", None),
        ("extracted by labels (90 %) and outputs at T = 20 (10 %), residual network", None),
        ("extracted by probabilities (T = 4), residual network", None),
        ("extracted by labels, residual network", None),
        ("a copy behind an API that gives probabilities to 3 decimals", None),
        ("a copy behind an API that gives labels alone", None),
    ]
    assert [member["name"] for member in results["siblings"]] == [f"sibling-0{i}" for i in range(1, 5)]
    assert results["source"]["origin"] == "source"


def test_siblings_judge_as_the_api_does(demo):
    """The public function on the fingerprint files; four siblings: Student's t, no exact verdict."""
    out, results = demo
    prints = {path.stem: Fingerprint.load(path) for path in (out / "fingerprints").rglob("*.safetensors")}
    siblings = [prints[f"sibling-0{i}"] for i in range(1, 5)]
    suspects = {row["name"]: prints[row["name"]] for row in results["models"]}
    together = sac_fast.sibling_test(prints["source"], siblings, suspects, alpha=0.05)
    assert {row["name"]: row["p_adjusted"] for row in results["models"]} == together.adjusted
    assert (results["exact"], results["smallest_p"], results["alpha"]) == (False, 0.2, 0.05)
    for row in results["models"]:
        name = row["name"]
        assert row["p_exact"] == together.p_exact[name]
        if name in ("finetune-last", "extract-labels-residual", "independent-02", "api-labels"):
            alone = sac_fast.sibling_test(prints["source"], siblings, {name: suspects[name]}, alpha=0.05)
            found = [row[key] for key in ("p_student", "verdict", "reason")]
            assert found == [alone.p_student[name], alone.verdict[name], alone.reason[name]]
        right = {"derived": ("derived", "derived (approximate)"), "independent": ("not distinguished",)}
        assert row["correct"] is (row["verdict"] in right[row["truth"]])


def test_weights_of_thieves_by_fine_tuning_and_of_the_same_backbone_are_related(demo):
    _, results = demo
    by_name = {row["name"]: row["weights"] and row["weights"]["verdict"] for row in results["models"]}
    related = {name for name, verdict in by_name.items() if verdict == "weights related"}
    assert related == {"finetune-all", "finetune-last", "prune-magnitude", "independent-03"}


def test_distances_are_those_of_the_files(demo):
    """Recomputed in float64 from the fingerprint files: rows centred, correlated, mean absolute difference."""
    out, results = demo

    def read(name):
        return Fingerprint.load(out / "fingerprints" / name).outputs.double().numpy()

    def matrix(outputs):
        centred = outputs - outputs.mean(1, keepdims=True)
        return np.corrcoef(centred)

    source = read("source.safetensors")
    softmax = np.exp(source) / np.exp(source).sum(1, keepdims=True)
    for row in results["models"]:
        ours, theirs = source, read(f"{'independents/' if row['kind'] else ''}{row['name']}.safetensors")
        if row["output_form"] == "labels":
            ours = np.eye(10)[source.argmax(1)]
        if row["output_form"] == "probabilities":
            ours, theirs = (np.log(np.maximum(p, 5e-4)) for p in (softmax.round(3), theirs))
        assert row["distance"] == pytest.approx(np.abs(matrix(ours) - matrix(theirs)).mean(), abs=1e-4)


def test_null_pool_is_of_the_other_honest_models(demo):
    _, results = demo
    null = {row["name"]: row["distance"] for row in results["models"] if row["truth"] == "independent"}
    assert results["null_pool"] == {
        "count": 3, "alpha": 0.25, "metric": "pearson", "comparison": "l1", "smallest_p": 0.25,
    }  # fmt: skip
    for row in results["models"]:
        others = [distance for name, distance in null.items() if name != row["name"]]
        below = sum(distance <= row["distance"] for distance in others)
        assert row["null_p_value"] == (1 + below) / (1 + len(others))
        if row["truth"] == "derived":
            assert row["null_verdict"] == ["derived", "inconclusive", *["not distinguished"] * 2][below]
        else:  # two others are too few for α = 25 %
            assert row["null_verdict"] == "inconclusive"


def test_summary_counts_the_table(demo):
    _, results = demo
    for key in ("verdict", "null_verdict"):
        called = [(row["truth"], row[key] in ("derived", "derived (approximate)")) for row in results["models"]]
        assert results["summary"][key] == {
            "thefts": 8, "found": called.count(("derived", True)),
            "honest": 3, "accused": called.count(("independent", True)),
        }  # fmt: skip
    by_labels = [row["verdict"] for row in results["models"] if row["name"].startswith(("extract-d", "extract-labels"))]
    found = sum(verdict.startswith("derived") for verdict in by_labels)
    assert results["summary"]["by_labels"] == {"thefts": 2, "found": found, "honest": 0, "accused": 0}


def test_a_theft_is_by_labels_where_they_are_half_of_its_loss():
    """By the recipes of the attacks, not by what the test finds."""
    distilled = ATTACKS["extract-distill"].defaults
    assert distilled["labels"] == "source"
    assert 1 - distilled["alpha"] >= 0.5
    members = plan.plan(plan.FULL, 0)
    taken = {member.method: member.takes for member in members if member.takes}
    assert {method for method, of in taken.items() if of == "labels"} == {"extract-labels", "extract-distill"}
    assert {method for method, of in taken.items() if of == "outputs"} == {"extract-soft-t4"}
    assert set(taken) == {*plan.THEFTS, "api"}


def test_probes_are_the_compressed_test_patches(demo):
    out, results = demo
    probes = ProbeSet.load(out / "probes.safetensors")
    test = data.make_task(0, patches=16, test_patches=20).test
    expected = ProbeSet.from_arrays(test.pixels, test.labels, layout="NHWC").jpeg(
        severity=results["settings"]["jpeg_severity"]
    )
    assert np.array_equal(probes.images, expected.images)
    assert np.array_equal(probes.labels, test.labels)
    assert results["settings"]["jpeg_quality"] == 25
    assert results["settings"]["probes"] == len(probes) == 200


def test_printed_commands_reproduce_a_row(demo):
    """What the two commands say, done with the API: the same p-values as in the table."""
    _, results = demo
    first, second = (shlex.split(command) for command in results["reproduce"])
    assert first[:2] == ["sac-fast", "fingerprint"]
    assert second[:2] == ["sac-fast", "verify"]
    said = dict(zip(first[3::2], first[4::2], strict=True))
    model = load_model(first[2], weights=said["--weights"], kwargs=json.loads(said["--model-args"]))
    mean, std = (tuple(map(float, said[key].split(","))) for key in ("--mean", "--std"))
    probes = ProbeSet.load(said["--probes"])
    preprocessing = Preprocessing(mean=mean, std=std)
    again = fingerprint(model, probes, preprocessing=preprocessing, output_form=said["--output-form"])
    assert second[3] == said["--out"]
    judged = dict(zip(second[4::2], second[5::2], strict=True))
    siblings = sibling_fingerprints(judged["--siblings"], probes.content_hash)
    source, alpha = Fingerprint.load(second[2]), float(judged["--alpha"])
    name = said["--out"].removesuffix(".safetensors")
    found = sac_fast.sibling_test(source, siblings, {name: again}, alpha=alpha)
    row = next(row for row in results["models"] if row["name"] == name)
    assert found.p_exact[name] == row["p_exact"]
    assert found.p_student[name] == pytest.approx(row["p_student"], abs=1e-4)


def test_two_workers_give_the_same_table_and_the_same_weights(demo, tmp_path):
    out, results = demo
    again = run_tiny(tmp_path, 2)
    for key in ("models", "source", "siblings", "summary", "settings"):
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


@pytest.mark.slow
def test_quick_demo_shows_what_it_must(tmp_path):
    """Accuracy; every fine-tuned, pruned and softly extracted model and every API is found, no honest one accused."""
    results = run_demo(tmp_path, quick=True, progress=False)
    assert results["source"]["accuracy"] >= 0.85
    rows = {row["name"]: row for row in results["models"]}
    assert min(row["accuracy"] for row in rows.values()) >= 0.8
    sure = {"finetune-all", "finetune-last", "extract-soft-t4-residual", "api-probabilities", "api-labels"}
    assert {name for name in sure if not rows[name]["correct"]} == set()
    assert results["summary"]["verdict"]["accused"] == 0
    related = {name for name, row in rows.items() if row["weights"] and row["weights"]["verdict"] == "weights related"}
    assert related == {"finetune-all", "finetune-last", "prune-magnitude", "independent-04"}
