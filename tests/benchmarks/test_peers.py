"""Peers beside sac_fast's statistics on a labelled zoo, and the literature's protocols."""

import argparse
import dataclasses
import json

import bench_literature
import bench_peers
import numpy as np
import pytest
from baselines import peers
from support.labelled_zoos import make_zoo

from sac_fast.attacks import ATTACKS
from sac_fast.bench.results import start_result
from sac_fast.evaluation.sources import load_sources
from sac_fast.verdict import auc


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("zoos")
    make_zoo(folder / "task" / "vgg-a", n=120, siblings=19, independents=12, thieves=2)
    (found,), _ = load_sources([folder])
    return found


def test_akh_is_the_hamming_distance_on_what_the_source_gets_wrong(source):
    compared = {one.measured.statistic: one for one in peers.from_outputs(source, 100)}
    akh = compared["akh"].measured
    assert akh.queries == 100
    rows = [i * 120 // 100 for i in range(100)]
    labels = {
        name: outputs.argmax(dim=1).numpy()[rows] for name, outputs in source.loaded.outputs["misclassified"].items()
    }
    own = labels[source.loaded.source]
    for member in source.loaded.suspects:
        if member.origin != "transfer-all":
            assert akh.distances[member.name] == pytest.approx(np.mean(labels[member.name] != own))
    # a model of other classes cannot be compared by labels
    assert compared["akh"].by_attack["transfer-all"] == 0.5
    assert compared["akh"].output_form == "labels"
    assert set(compared) == {*peers.OWN, *peers.RECORDED}


def test_means_are_over_the_papers_attacks_and_working_thefts(source):
    one = next(one for one in peers.from_outputs(source, 100) if one.measured.statistic == "sac-normal")
    row = one.to_dict()
    far = [one.measured.distances[m.name] for m in source.loaded.independents]
    near = [
        one.measured.distances[m.name]
        for m in source.loaded.stolen if m.origin == "finetune-all" and source.works(m)
    ]  # fmt: skip
    assert row["auc_by_attack"]["finetune-all"] == pytest.approx(auc(near, far))
    assert not any(name.startswith("adaptive") for name in row["auc_by_attack"])
    assert row["mean_auc"] == pytest.approx(np.mean(list(row["auc_by_attack"].values())))


def test_scores_of_models_are_taken_by_name_and_those_of_another_zoo_refused(source):
    names = [m.name for m in source.loaded.suspects]
    row = {
        "method": "zest", "queries": 99, "median_suspect_cpu_seconds": 0.1, "budget": 100,
        "output_form": "probabilities",
        "scores": {name: None if i == 0 else i / 10 for i, name in enumerate(names)},
    }  # fmt: skip
    (one,) = peers.from_models(source, {"members": dict.fromkeys(names), "results": [row]})
    assert np.isnan(one.measured.distances[names[0]])
    assert one.measured.distances[names[1]] == 0.1
    with pytest.raises(ValueError, match="scores must be of the zoo task/vgg-a"):
        peers.from_models(source, {"members": {}, "results": [row]})


def test_tables_have_a_row_a_statistic_and_a_column_a_budget(source):
    records = [one.to_dict() for budget in (100, 200) for one in peers.from_outputs(source, budget)]
    titles = {**peers.OWN, **{name: of[0] for name, of in peers.RECORDED.items()}}
    results = {"records": records, "titles": titles, "command": "x", "commit": None, "published": peers.PUBLISHED}
    text = peers.markdown(results)
    assert "| statistic | asks for | 100 queries | 200 queries |" in text
    (line,) = [line for line in text.splitlines() if line.startswith("| AKH | labels |")]
    wanted = [row["mean_auc"] for row in records if row["statistic"] == "akh"]
    assert line == f"| AKH | labels | {wanted[0]:.3f} (1) | {wanted[1]:.3f} (1) |"


def test_what_is_kept_is_not_computed_again(tmp_path):
    kept = bench_peers._Kept(tmp_path / "kept.jsonl")
    kept.add("task/b", 200, [{"statistic": "x"}])
    kept.add("task/a", 100, [{"statistic": "y"}])
    with open(tmp_path / "kept.jsonl", "a") as handle:
        handle.write('["task/a", 200, [{"stat')  # a run that was stopped
    again = bench_peers._Kept(tmp_path / "kept.jsonl")
    assert again.has("task/b", 200)
    assert not again.has("task/a", 200)
    assert again.records({"task/a", "task/b"}) == [{"statistic": "y"}, {"statistic": "x"}]
    again.add("task/a", 200, [{"statistic": "z"}])
    assert bench_peers._Kept(tmp_path / "kept.jsonl").has("task/a", 200)
    assert again.records({"task/b"}) == [{"statistic": "x"}]


@pytest.mark.parametrize("name", bench_literature.PROTOCOLS)
def test_protocols_name_attacks_that_are_there(name):
    protocol = bench_literature.Protocol.read(name)
    assert set(protocol.names) <= set(ATTACKS)
    assert len(protocol.names) == len(protocol.attack)
    assert protocol.queries == 200
    assert any(text.startswith("Numbers of epochs") for text in protocol.assumptions)
    task = argparse.Namespace(defender=range(1000))
    size = protocol.size(task)
    assert size.images == 60_000
    assert size.independents["sibling"] == (19, ("resnet18",))
    assert sum(count for count, _ in size.stolen.values()) == sum(row["count"] for row in protocol.attack)


def test_literature_records_use_the_papers_names(source):
    rows = bench_literature.compare(source, ["sac-jc"], None)
    row = next(row for row in rows if row["statistic"] == "sac-normal")
    assert "Finetune-A" in row["auc_by_attack"]
    assert row["mean_auc"] == pytest.approx(np.mean(list(row["auc_by_attack"].values())))
    protocols = {"sac-jc": dataclasses.asdict(bench_literature.Protocol.read("sac-jc"))}
    text = bench_literature.markdown(
        {"records": rows, "protocols": protocols, "titles": {"sac-normal": "SAC-normal"}, "command": "x"}
    )
    assert "## SAC-JC on task, 200 queries" in text
    assert "Assumptions for SAC-JC:\n\n* The budget of 200 queries.\n" in text
    assert f"| SAC-normal | {row['mean_auc']:.3f} |" in text


def test_literature_tables_of_kept_records_take_the_assumptions_of_today(source, tmp_path):
    rows = bench_literature.compare(source, ["sac-jc"], None)
    protocol = dataclasses.asdict(bench_literature.Protocol.read("sac-jc")) | {"assumptions": ["an old one"]}
    kept = start_result(bench_literature.KIND, 1) | {
        "records": rows, "protocols": {"sac-jc": protocol}, "titles": {"sac-normal": "SAC-normal"},
        "seconds": 1.0,
    }  # fmt: skip
    (tmp_path / "literature.json").write_text(json.dumps(kept))
    bench_literature.tables(bench_literature.parse(["tables", "--tables-only", "--out", str(tmp_path)]))
    text = (tmp_path / "literature.md").read_text()
    assert "* The budget of 200 queries.\n" in text
    assert "an old one" not in text
    assert json.loads((tmp_path / "literature.json").read_text())["records"] == rows
    with pytest.raises(SystemExit):
        bench_literature.parse(["tables"])
