"""Evaluation of a labelled zoo of invented models: what is loaded, zoos and options, time and intervals."""

import dataclasses
import json

import pytest
from support import labelled_zoos
from support.labelled_zoos import make_zoo

from sac_fast.demo.architectures import plain
from sac_fast.errors import FileFormatError, FingerprintError
from sac_fast.evaluation.figures import write_figures
from sac_fast.evaluation.loaded_zoo import LoadedZoo
from sac_fast.evaluation.methods import score_method
from sac_fast.evaluation.query_time import seconds_per_probe
from sac_fast.evaluation.resampled import resampled_distances
from sac_fast.evaluation.run import evaluate
from sac_fast.evaluation.summary import summarise
from sac_fast.evaluation.tables import markdown
from sac_fast.labelled_zoo.folder import LabelledZoo
from sac_fast.models import Preprocessing, save_weights
from sac_fast.scores import Score


def test_outputs_are_those_of_the_fingerprints(zoo, loaded):
    assert loaded.source == "source"
    assert {m.name for m in loaded.suspects} == {m.name for m in zoo.members} - {"source"}
    wanted = zoo.load_fingerprint("plain", "independent-3").outputs
    assert loaded.outputs["plain"]["independent-3"].equal(wanted)
    assert loaded.labels["plain"].tolist() == zoo.load_probes("plain").labels.tolist()
    assert [attack for attack, _ in loaded.attacks()][-1] == "adaptive-correlation"
    assert LoadedZoo.load(zoo.folder, probes=["plain"]).count("plain") == 80
    with pytest.raises(ValueError, match="probes must be of plain, jpeg-q15"):
        LoadedZoo.load(zoo.folder, probes=["cutmix"])


def test_a_zoo_that_still_grows(tmp_path):
    zoo = make_zoo(tmp_path, independents=3, thieves=1)
    zoo.fingerprint_file("plain", "independent-1").unlink()
    zoo.probes_file("plain").unlink()
    loaded = LoadedZoo.load(tmp_path)
    assert loaded.skipped == ("independent-1",)
    assert loaded.labels["plain"] is None
    zoo.fingerprint_file("jpeg-q7", "source").unlink()
    with pytest.raises(FileFormatError, match="must hold a source model's outputs"):
        LoadedZoo.load(tmp_path)


def test_outputs_on_other_probes_are_refused(tmp_path):
    zoo = make_zoo(tmp_path, independents=3, thieves=1)
    zoo.load_fingerprint("jpeg-q7", "independent-1").save(zoo.fingerprint_file("plain", "independent-1"))
    with pytest.raises(FingerprintError, match="outputs of 'independent-1' on 'plain' must be on the probes"):
        LoadedZoo.load(tmp_path)


def test_a_preset_that_cannot_be_is_named(tmp_path):
    zoo = make_zoo(tmp_path, independents=3, thieves=1)
    found, _ = evaluate(zoo.folder, resamples=20)
    assert [m["name"] for m in found["methods"]] == ["sac-jc", "robust"]
    assert "at least 4 independents" in found["not_evaluated"]["calibrated"]
    assert "Not evaluated: calibrated" in markdown(found)
    with pytest.raises(ValueError, match="preset must be one of"):
        evaluate(zoo.folder, presets=["best"])
    with pytest.raises(ValueError, match="needs a probe set of plain"):
        evaluate(zoo.folder, scores=["raw/cosine/l1@cutmix"])


def test_a_zoo_of_many_classes(tmp_path, monkeypatch, small_grid):
    """A regression needs no more probes than outputs, but states no interval over so few of them."""
    monkeypatch.setattr(labelled_zoos, "CLASSES", 30)
    many = make_zoo(tmp_path / "zoo", n=32, independents=4, thieves=1)
    presets = ["sac-jc", "robust"]
    scores = ["raw/regression@plain:20"]
    found, loaded = evaluate(many.folder, presets=presets, scores=scores, with_grid=True, resamples=10)
    assert [m["name"] for m in found["methods"]] == [*presets, *scores]
    assert found["not_evaluated"] == {}
    assert {name: [n for n, _ in curve] for name, curve in found["auc_by_count"].items()} == {
        "sac-jc": [25, 32], "robust": [25, 32]
    }  # fmt: skip
    assert [quality for quality, _ in found["auc_by_quality"]["robust's measure"]] == [7, 15]
    assert sum("regression" in row["score"] for row in found["grid"]) == 4
    assert resampled_distances(loaded, Score.parse("raw/regression@plain"), resamples=5) is None
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"probe_resamples": 1}, "probe_resamples must be 0 or at least 2, got 1"),
        ({"alpha": 1e-300}, "alpha must be at least 1e-12, got 1e-300"),
    ],
)
def test_options_are_refused_before_anything_is_read(options, message):
    with pytest.raises(ValueError, match=message):
        evaluate("nowhere", **options)


def test_the_quality_is_asked_of_the_presets_wanted(results, zoo):
    assert list(results["auc_by_quality"]) == ["sac-jc's measure", "robust's measure"]
    found, _ = evaluate(zoo.folder, presets=["sac-jc"], resamples=10)
    assert list(found["auc_by_quality"]) == ["sac-jc's measure"]


def test_a_zoo_of_adaptive_thefts_alone(tmp_path, small_grid):
    zoo = make_zoo(tmp_path, n=30, independents=4, thieves=2)
    kept = tuple(m for m in zoo.members if m.role != "stolen" or m.origin.startswith("adaptive-"))
    dataclasses.replace(zoo, members=kept).save()
    found, loaded = evaluate(tmp_path, presets=["sac-jc"], with_grid=True, resamples=10)
    json.dumps(found, allow_nan=False)
    (method,) = found["methods"]
    assert method["mean_auc"] is None
    assert set(method["mean_tpr"].values()) == set(method["mean_auc_by_kind"].values()) == {None}
    assert found["auc_by_count"] == {"sac-jc": [(25, None), (30, None)]}
    assert {row["mean_auc"] for row in found["grid"]} == {None}
    assert 0 <= method["adaptive"]["mean_over_attacks"]["auc"]["value"] <= 1
    row = next(line for line in markdown(found).splitlines() if line.startswith("| sac-jc"))
    assert row.count("–") == 6
    pytest.importorskip("matplotlib")
    assert [path.stem for path in write_figures(found, loaded, tmp_path)] == ["distances", "heatmap"]


def test_intervals_over_probes(loaded, tmp_path):
    drawn = resampled_distances(loaded, Score.parse("raw/cosine/l1@plain"), resamples=30)
    assert set(drawn) == {m.name for m in loaded.suspects}
    assert resampled_distances(loaded, Score.parse("raw/cosine/rsa@plain"), resamples=3) is None
    assert resampled_distances(loaded, Score.parse("raw/regression@plain"), resamples=3) is None  # 80 probes
    cosine = score_method(loaded, Score.parse("raw/cosine/l1@plain")).distances
    auc = summarise(cosine, loaded.suspects, resamples=20, resampled=drawn)["non_adaptive"]["mean_over_attacks"]["auc"]
    assert auc["over_probes"]["low"] < auc["value"] < auc["over_probes"]["high"]
    more = LoadedZoo.load(make_zoo(tmp_path / "zoo", n=120, independents=4, thieves=1).folder)
    regression = resampled_distances(more, Score.parse("raw/regression@plain"), resamples=30)
    point = score_method(more, Score.parse("raw/regression@plain")).distances
    for name, values in regression.items():
        assert values.shape == (30,)
        assert abs(values.mean() - point[name]) < 0.1
    # the regression separates all of them whatever the probes, which says nothing of how sure that is
    auc = summarise(point, more.suspects, resamples=20, resampled=regression)["non_adaptive"]["mean_over_attacks"][
        "auc"
    ]
    assert (auc["value"], auc["over_probes"]) == (1.0, None)
    assert "no interval over probes" in auc["note"]


def test_the_source_is_timed(tmp_path):
    zoo = make_zoo(tmp_path, independents=3, thieves=1)
    source = dataclasses.replace(
        zoo.source, architecture="sac_fast.demo.architectures:plain", architecture_args={"classes": 5}
    )
    others = [m for m in zoo.members if m.role != "source"]
    preprocessing = Preprocessing(size=(32, 32)).to_dict()
    zoo = LabelledZoo(zoo.folder, zoo.task, preprocessing, (source, *others), zoo.probes)
    zoo.save()
    save_weights(zoo.weights_file(source), plain(5))
    found, _ = evaluate(zoo.folder, presets=["robust"], time_queries=True, resamples=20)
    seconds = found["methods"][0]["query_seconds"]
    assert 0 < seconds < 60
    # 80 probes were asked
    assert 0 < seconds_per_probe(zoo, "plain", repeats=1) < 60 / 80
