"""Evaluation of a zoo of invented loaded: who is judged by what, figures of merit, tables."""

import csv
import dataclasses
import io
import json
import math

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score
from support import labelled_zoos
from support.labelled_zoos import make_zoo, members

from sac_fast.demo.architectures import plain
from sac_fast.errors import FileFormatError, FingerprintError
from sac_fast.evaluation.crossfit import cross_fit, make_folds
from sac_fast.evaluation.curves import grid, limited
from sac_fast.evaluation.figures import write_figures
from sac_fast.evaluation.loaded_zoo import LoadedZoo
from sac_fast.evaluation.methods import calibrated_method, read_peers, score_method
from sac_fast.evaluation.query_time import seconds_per_probe
from sac_fast.evaluation.resampled import resampled_distances
from sac_fast.evaluation.run import ZooEvaluation, evaluate
from sac_fast.evaluation.summary import attack_aucs, mean_auc, mean_tpr, split_checks, summarise
from sac_fast.evaluation.tables import csv_rows, markdown
from sac_fast.fingerprint import Fingerprint
from sac_fast.labelled_zoo.folder import LabelledZoo
from sac_fast.models import Preprocessing, save_weights
from sac_fast.scores import CALIBRATED, CohortStatistic, Score

STATISTICS = (CohortStatistic(0.1, "softmax(1)", "pearson", "misclassified"),)


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    return make_zoo(tmp_path_factory.mktemp("zoo"))


@pytest.fixture(scope="module")
def loaded(zoo):
    return LoadedZoo.load(zoo.folder)


@pytest.fixture(scope="module")
def results(zoo):
    return evaluate(zoo.folder, scores=("agreement@plain:40",), resamples=50)[0]


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


def test_folds_keep_architectures_and_seeds_apart():
    source, *suspects = members()
    folds = list(make_folds(source, suspects))
    tested = [m.name for fold in folds for m in fold.tested]
    assert sorted(tested) == sorted(m.name for m in suspects)

    def network(member):
        return member.architecture_args.get("model", member.architecture)

    assert {network(m) for fold in folds for m in fold.tested} == {"nets:a", "nets:b", "nets:c"}
    for fold in folds:
        networks = {network(m) for m in fold.tested}
        assert len(networks) == 1
        # no theft of the same architecture, models with a new head among them
        assert networks.isdisjoint({network(m) for m in fold.thefts})
        assert {m.name for m in fold.tested}.isdisjoint(m.name for m in fold.cohort)
        if networks != {"nets:a"}:
            assert networks.isdisjoint({network(m) for m in fold.cohort})
    # the source's own architecture: each independent of it is left out once
    own = [m for m in suspects if m.role == "independent" and m.architecture == "nets:a"]
    assert sum(m in fold.tested for m in own for fold in folds) == len(own)
    assert sum(fold.name.startswith("nets:a") for fold in folds) == 4


def test_no_suspect_is_judged_by_a_score_that_has_seen_the_like(loaded, monkeypatch):
    """Every fit is recorded; nothing of the fit of a judgement may be of its attack, architecture or fold."""
    from sac_fast.evaluation import crossfit

    seen = []
    real = crossfit.fit_weights

    def recording(thefts, origins, independents, **options):
        seen.append((set(origins), len(independents)))
        return real(thefts, origins, independents, **options)

    monkeypatch.setattr(crossfit, "fit_weights", recording)
    found = cross_fit(loaded, STATISTICS, regularisation=0.1)
    attacks = [attack for attack, _ in loaded.attacks()]
    for number, (origins, _) in enumerate(seen):
        assert attacks[number % len(attacks)] not in origins
        assert "adaptive-correlation" not in origins
    # other networks than a: extraction only was done with them; so a fold of a's can only be fitted on that
    assert set(found.distances) == {m.name for m in loaded.suspects}


def test_a_changed_suspect_changes_no_other_judgement(tmp_path, loaded):
    """The strongest form of 'no leak': what is tested influences nothing but its own distance, in its own fold."""
    before = cross_fit(loaded, STATISTICS, regularisation=0.1).distances
    outputs = {name: dict(of) for name, of in loaded.outputs.items()}
    changed = "transfer-all-0"
    outputs["misclassified"][changed] = outputs["misclassified"][changed].flip(0)
    moved = LoadedZoo(loaded.zoo, loaded.members, outputs, loaded.labels)
    after = cross_fit(moved, STATISTICS, regularisation=0.1).distances
    fold = next(f for f in make_folds(loaded.zoo.source, loaded.suspects) if changed in {m.name for m in f.tested})
    for member in fold.tested:
        # judged by a fit without transfer-all and without network a: nobody of the same fold notices
        if member.name != changed and member.role == "stolen":
            assert after[member.name] == before[member.name]
    assert after[changed] != before[changed]


def test_the_trained_score_finds_thieves(loaded):
    method = calibrated_method(loaded, STATISTICS)
    assert mean_auc(method.distances, loaded.suspects) > 0.95
    assert method.queries == 80
    few = [m for m in loaded.members if m.role != "independent" or m.name in {"independent-0", "independent-1"}]
    small = LoadedZoo(loaded.zoo, tuple(few), loaded.outputs, loaded.labels)
    with pytest.raises(ValueError, match="cohort of 'nets:"):
        calibrated_method(small, STATISTICS)


def test_figures_of_merit_are_means_over_attacks(loaded):
    distances = score_method(loaded, Score.parse("raw/pearson/l1@plain")).distances
    far = [distances[m.name] for m in loaded.independents]
    wanted = {}
    for attack, of in loaded.attacks():
        near = [distances[m.name] for m in of]
        wanted[attack] = roc_auc_score([1] * len(near) + [0] * len(far), [-d for d in near + far])
    assert attack_aucs(distances, loaded.suspects) == pytest.approx(wanted)
    non_adaptive = [v for k, v in wanted.items() if not k.startswith("adaptive")]
    assert mean_auc(distances, loaded.suspects) == pytest.approx(np.mean(non_adaptive))
    summary = summarise(distances, loaded.suspects, resamples=50)
    assert summary["mean_auc"] == pytest.approx(np.mean(non_adaptive))
    assert summary["non_adaptive"]["mean_over_attacks"]["auc"]["value"] == pytest.approx(np.mean(non_adaptive))
    assert set(summary["adaptive"]["attacks"]) == {"adaptive-correlation"}


def test_what_cannot_be_compared_counts_as_chance(loaded):
    # transfer-all has three classes, the source five
    distances = score_method(loaded, Score.parse("agreement@misclassified")).distances
    assert math.isnan(distances["transfer-all-0"])
    aucs = attack_aucs(distances, loaded.suspects)
    assert aucs["transfer-all"] == 0.5
    summary = summarise(distances, loaded.suspects, resamples=20)
    assert summary["not_comparable"] == ["transfer-all"]
    assert "transfer-all" not in summary["non_adaptive"]["attacks"]
    assert summary["mean_auc"] == pytest.approx(np.mean([aucs["finetune-all"], aucs["extract-labels"], 0.5]))
    # and as not found
    found = {m.name: -1.0 if m.role == "stolen" else 1.0 for m in loaded.suspects}
    lost = found | {m.name: math.nan for m in loaded.suspects if m.origin == "transfer-all"}
    assert mean_tpr(found, loaded.suspects, 0.05) == 1.0
    assert mean_tpr(lost, loaded.suspects, 0.05) == pytest.approx(2 / 3)


def test_an_evaluation_saves_itself(tmp_path, results, loaded):
    ZooEvaluation(results, loaded).save(tmp_path)
    assert json.loads((tmp_path / "results.json").read_text()) == json.loads(json.dumps(results))
    assert (tmp_path / "results.md").read_text() == markdown(results)
    lines = (tmp_path / "results.csv").read_text().splitlines()
    assert len(lines) == 1 + 4 * len(loaded.suspects)


def test_results_are_json_and_name_what_was_left_out(results):
    assert json.loads(json.dumps(results, allow_nan=False)) == json.loads(json.dumps(results))
    assert [m["name"] for m in results["methods"]] == ["sac-jc", "robust", "calibrated", "agreement@plain:40"]
    assert results["not_evaluated"] == {}
    assert results["methods"][3]["queries"] == 40
    assert results["methods"][3]["distances"]["transfer-all-1"] is None
    groups = {(g["role"], g["origin"]): g["count"] for g in results["zoo"]["groups"]}
    assert groups["stolen", "finetune-all"] == 3
    assert groups["independent", "same-data"] == 5
    counts = [count for count, _ in results["auc_by_count"]["sac-jc"]]
    assert counts == [25, 50, 80]
    assert [quality for quality, _ in results["auc_by_quality"]["sac-jc's measure"]] == [7, 15]


def test_the_published_score_is_weaker_here_as_well(results):
    by_name = {m["name"]: m["mean_auc"] for m in results["methods"]}
    assert by_name["calibrated"] > 0.95
    assert by_name["robust"] > by_name["sac-jc"]


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


def test_the_table_has_every_attack_and_method(results):
    text = markdown(results, "sac-fast evaluate zoo")
    table = text[text.index("## AUC, attack × method") :]
    head = next(line for line in table.splitlines() if line.startswith("| attack"))
    assert head == "| attack | models | sac-jc | robust | calibrated | agreement@plain:40 |"
    row = next(line for line in table.splitlines() if line.startswith("| transfer-all")).split(" | ")
    assert row[1] == "3"
    assert row[-1] == "– |"
    value = results["methods"][1]["non_adaptive"]["attacks"]["transfer-all"]["auc"]["value"]
    assert row[3].startswith(f"{value:.2f} [")
    assert "`sac-fast evaluate zoo`" in text


def test_the_csv_has_every_distance(results):
    rows = list(csv.DictReader(io.StringIO(csv_rows(results))))
    assert len(rows) == 4 * len(results["members"])
    row = next(r for r in rows if r["method"] == "robust" and r["member"] == "finetune-all-1")
    assert float(row["distance"]) == results["methods"][1]["distances"]["finetune-all-1"]
    assert (row["role"], row["origin"]) == ("stolen", "finetune-all")


def peers_file(path, loaded, **changes):
    scores = {m.name: None if m.origin == "transfer-all" else 0.5 for m in loaded.suspects}
    result = {"method": "akh", "title": "AKH", "paper": "AAAI 2025", "queries": 100, "prepare_seconds": 1.0,
              "median_suspect_seconds": 0.1, "scores": scores}  # fmt: skip
    path.write_text(json.dumps({"kind": "sac_fast baselines", "results": [result | changes]}))
    return path


def test_peers_are_read(tmp_path, loaded):
    (peer,) = read_peers(peers_file(tmp_path / "p.json", loaded), loaded.suspects)
    assert (peer.name, peer.source, peer.queries, peer.seconds) == ("AKH, 100 queries", "akh", 100, 0.1)
    assert math.isnan(peer.distances["transfer-all-0"])
    found, _ = evaluate(loaded.zoo.folder, presets=["robust"], peers=tmp_path / "p.json", resamples=20)
    assert found["methods"][1]["from"] == "akh"
    assert found["methods"][1]["mean_auc"] == 0.5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scores": {}}, "KeyError"),
        ({"queries": "many"}, "ValueError"),
        ({"median_suspect_seconds": -1}, "seconds must be finite"),
        ({"scores": None}, "TypeError"),
    ],
)
def test_wrong_peers_are_refused(tmp_path, loaded, changes, message):
    with pytest.raises(FileFormatError, match=message):
        read_peers(peers_file(tmp_path / "p.json", loaded, **changes), loaded.suspects)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"kind": "x"}', "[" * 100_000, '{"kind": "sac_fast baselines"}'])
def test_no_peers_at_all(tmp_path, loaded, text):
    (tmp_path / "p.json").write_text(text)
    with pytest.raises(FileFormatError, match="must hold the results of bench_baselines"):
        read_peers(tmp_path / "p.json", loaded.suspects)


def test_the_grid_is_sorted(loaded, monkeypatch):
    monkeypatch.setattr("sac_fast.evaluation.curves.GRID_TRANSFORMS", ("raw", "softmax(1)"))
    monkeypatch.setattr("sac_fast.evaluation.curves.GRID_METRICS", ("pearson",))
    few = LoadedZoo.load(loaded.zoo.folder, probes=["plain", "misclassified"])
    rows = grid(few)
    # 2 probe sets × (2 × 1 × 4 correlations, 2 regressions, 3 of outputs)
    assert len(rows) == 2 * (8 + 2 + 3)
    assert [r["mean_auc"] for r in rows] == sorted((r["mean_auc"] for r in rows), reverse=True)
    row = next(r for r in rows if r["score"] == "raw/pearson/l1@plain")
    distances = score_method(loaded, Score.parse("raw/pearson/l1@plain")).distances
    assert row["mean_auc"] == mean_auc(distances, loaded.suspects)
    near = ["same-data", "same-data-same-architecture"]
    assert row["mean_auc_same_data"] == mean_auc(distances, loaded.suspects, near)


@pytest.fixture
def small_grid(monkeypatch):
    monkeypatch.setattr("sac_fast.evaluation.curves.GRID_TRANSFORMS", ("raw",))
    monkeypatch.setattr("sac_fast.evaluation.curves.GRID_METRICS", ("cosine",))


def test_a_zoo_of_many_classes(tmp_path, monkeypatch, small_grid):
    """A regression on 30 outputs needs 32 probes: the curve of `robust` starts there, the grid names none of fewer."""
    monkeypatch.setattr(labelled_zoos, "CLASSES", 30)
    many, few = (make_zoo(tmp_path / str(n), n=n, independents=4, thieves=1) for n in (32, 31))
    presets = ["sac-jc", "robust"]
    found, loaded = evaluate(many.folder, presets=presets, scores=["raw/regression@plain:31"], with_grid=True,
                              resamples=10)  # fmt: skip
    assert [m["name"] for m in found["methods"]] == presets
    assert "at least 32 rows" in found["not_evaluated"]["raw/regression@plain:31"]
    assert "Not evaluated: raw/regression@plain:31" in markdown(found)
    assert {name: [n for n, _ in curve] for name, curve in found["auc_by_count"].items()} == {
        "sac-jc": [25, 32], "robust": [32]
    }  # fmt: skip
    assert [quality for quality, _ in found["auc_by_quality"]["robust's measure"]] == [7, 15]
    assert sum("regression" in row["score"] for row in found["grid"]) == 4
    # resamples of 32 probes hold fewer than 32 different ones, which would explain everything
    assert resampled_distances(loaded, Score.parse("raw/regression@plain"), resamples=5) is None

    found, loaded = evaluate(few.folder, presets=presets, with_grid=True, resamples=10)
    assert list(found["not_evaluated"]) == ["robust"]
    assert list(found["auc_by_quality"]) == ["sac-jc's measure"]
    assert len(found["grid"]) == 4 * (4 + 3)
    assert not any("regression" in row["score"] for row in found["grid"])
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


def test_an_independent_of_another_number_of_outputs(tmp_path, small_grid):
    zoo = make_zoo(tmp_path, n=30, independents=4, thieves=1)
    for name in zoo.probes:
        fp = zoo.load_fingerprint(name, "independent-0")
        Fingerprint(fp.outputs[:, :4], fp.provenance).save(zoo.fingerprint_file(name, "independent-0"))
    loaded = LoadedZoo.load(tmp_path)
    scores = {m.name: None if m.name == "independent-0" else 0.5 for m in loaded.suspects}
    peers = peers_file(tmp_path / "p.json", loaded, scores=scores)
    found, _ = evaluate(tmp_path, presets=["sac-jc"], scores=["agreement@plain"], peers=peers, with_grid=True,
                        resamples=10)  # fmt: skip
    assert [m["name"] for m in found["methods"]] == ["sac-jc"]
    reason = "distances of all independents are needed, and that of 'independent-0' is not defined"
    assert found["not_evaluated"] == {"agreement@plain": reason, "AKH, 100 queries": reason}
    # scores of outputs have no figures and come last; 4 regressions and 16 correlations have
    assert [row["mean_auc"] is None for row in found["grid"]] == [False] * 20 + [True] * 12
    assert {row["mean_tpr_5"] for row in found["grid"][20:]} == {None}
    json.dumps(found, allow_nan=False)


def test_fewer_probes_for_the_trained_score(loaded):
    assert {s.count for s in limited(CALIBRATED, 40, loaded)} == {40}
    assert {s.count for s in limited(CALIBRATED, 4000, loaded)} == {80}
    assert isinstance(loaded.zoo.load_fingerprint("plain", "source"), Fingerprint)


def test_rates_hold_on_held_out_independents():
    rng = np.random.default_rng(5)
    one, five, ten = split_checks(rng.normal(size=120), seed=1)
    # 99 nulls can give p = 0.01; halves have 60
    assert (one.null_count, five.null_count, ten.null_count) == (99, 60, 60)
    assert one.holds
    assert five.holds
    assert ten.holds
    # 3 independents can say nothing at these rates
    assert [check.holds for check in split_checks(np.array([1.0, 2.0, 3.0]))] == [None, None, None]
    assert split_checks(np.array([1.0])) == []


def test_intervals_over_probes(loaded):
    drawn = resampled_distances(loaded, Score.parse("raw/cosine/l1@plain"), resamples=30)
    assert set(drawn) == {m.name for m in loaded.suspects}
    regression = resampled_distances(loaded, Score.parse("raw/regression@plain:60"), resamples=30)
    point = score_method(loaded, Score.parse("raw/regression@plain:60")).distances
    # a resample of 60 rows of which some count twice explains a little more than the rows themselves
    for name, values in regression.items():
        assert values.shape == (30,)
        assert abs(values.mean() - point[name]) < 0.1
    assert resampled_distances(loaded, Score.parse("raw/cosine/rsa@plain"), resamples=3) is None
    cosine = score_method(loaded, Score.parse("raw/cosine/l1@plain")).distances
    auc = summarise(cosine, loaded.suspects, resamples=20, resampled=drawn)["non_adaptive"]["mean_over_attacks"]["auc"]
    assert auc["over_probes"]["low"] < auc["value"] < auc["over_probes"]["high"]
    # the regression separates all of them whatever the probes, which says nothing of how sure that is
    auc = summarise(point, loaded.suspects, resamples=20, resampled=regression)["non_adaptive"]["mean_over_attacks"][
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
