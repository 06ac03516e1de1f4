"""Evaluation of several sources: what is counted, and that invented thefts are found and honest models are not."""

import dataclasses
import json

import numpy as np
import pytest
from support.labelled_zoos import make_zoo

from sac_fast.errors import FileFormatError
from sac_fast.evaluation import protocol_figures
from sac_fast.evaluation.paper_tables import paper_markdown
from sac_fast.evaluation.protocol import Protocol, evaluate_sources
from sac_fast.evaluation.protocol_figures import write_protocol_figures
from sac_fast.evaluation.protocol_tables import protocol_markdown
from sac_fast.evaluation.sources import disputed_order, family, find_zoos, load_sources, with_misclassified
from sac_fast.fingerprint import Fingerprint
from sac_fast.models import similarities
from sac_fast.verify.siblings import sibling_test

SMALL = Protocol(sibling_counts=(4, 9, 19), probe_counts=(30, 40), budgets=(40,))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("zoos")
    for seed, (task, source) in enumerate((("one", "a"), ("one", "b"), ("two", "a"))):
        make_zoo(folder / task / source, n=60, seed=seed, task=task, siblings=9, independents=15, thieves=2)
    return folder


@pytest.fixture(scope="module")
def results(folder):
    return evaluate_sources([folder], protocol=SMALL).results


def pick(rows, **wanted):
    return [row for row in rows if all(row[key] == value for key, value in wanted.items())]


def test_sources_are_found_and_what_is_not_finished_is_listed(folder, tmp_path):
    assert [path.relative_to(folder).as_posix() for path in find_zoos([folder])] == ["one/a", "one/b", "two/a"]
    assert find_zoos([folder / "one" / "a", folder]) == find_zoos([folder])
    with pytest.raises(FileFormatError, match=r"must hold labelled zoos \(zoo.json\), got none"):
        find_zoos([tmp_path])
    zoo = make_zoo(tmp_path / "task" / "late", n=10, independents=3, thieves=1)
    zoo.fingerprint_file("plain", "source").unlink()
    sources, left_out = load_sources([folder / "two", tmp_path])
    assert [source.key for source in sources] == ["two/a"]
    assert "must hold a source model's outputs" in left_out["task/late"]
    with pytest.raises(FileFormatError, match="must hold a zoo that can be evaluated"):
        evaluate_sources([tmp_path])


def test_every_model_is_counted_once(results):
    assert [(source["key"], source["siblings"], source["models"]) for source in results["sources"]] == [
        (key, 9, 33) for key in ("one/a", "one/b", "two/a")
    ]
    for row in pick(results["accusations"], of="all"):
        assert row["models"] == 45
        assert row["by_source"] == [[hits, 15] for hits, _ in row["by_source"]]
    for row in pick(results["found"], of="all"):
        assert row["models"] == 24
    by_kind = [sum(row["models"] for row in pick(results["accusations"], ground="siblings, Student's t", siblings=9,
               probes=None, alpha=0.05, of=kind)) for kind in ("same-data", "other-data", "sibling")]  # fmt: skip
    assert by_kind == [15, 15, 0]
    # with four of nine siblings as judges the other five are suspects
    assert pick(results["accusations"], siblings=4, probes=None, alpha=0.05, of="sibling")[0]["models"] == 15


@pytest.fixture(scope="module")
def verifiers(tmp_path_factory):
    """A zoo of verifiers: similarities of each probe to the first twelve, as all models have them."""
    folder = tmp_path_factory.mktemp("verifiers") / "faces" / "a"
    zoo = make_zoo(folder, n=60, task="faces", siblings=9, independents=15, thieves=2)
    for name in zoo.probes:
        for member in zoo.members:
            kept = zoo.load_fingerprint(name, member)
            outputs = similarities(kept.outputs, kept.outputs[:12])
            provenance = {**kept.provenance, "output_form": "similarities"}
            Fingerprint(outputs, provenance).save(zoo.fingerprint_file(name, member))
    return folder


def test_verifiers_are_compared_by_similarities(verifiers):
    (source,), _ = load_sources([verifiers])
    assert source.loaded.form == "similarities"
    results = evaluate_sources([verifiers], protocol=dataclasses.replace(SMALL, weights=False)).results
    outputs = source.outputs
    siblings = [outputs[m.name] for m in source.loaded.siblings]
    suspects = {m.name: outputs[m.name] for m in source.loaded.suspects}
    direct = sibling_test(outputs["source"], siblings, suspects, output_form="similarities")
    ruling = pick(results["rulings"], ground="siblings, Student's t", siblings=9)[0]
    of = dict(zip(results["sources"][0]["suspects"], ruling["p_values"], strict=True))
    assert {name: of[name] for name in suspects} == pytest.approx(direct.p_student, abs=1e-5)
    row = pick(results["found"], ground="siblings, Student's t", siblings=9, of="finetune-all", alpha=0.05)[0]
    assert (row["hits"], row["models"]) == (2, 2)
    # a nearest reference is no class that the source could get wrong
    assert "misclassified" not in with_misclassified(limited_to_plain(source.loaded), "plain").outputs
    assert "form must be one with outputs by class" in results["not_evaluated"]["faces/a"]["contrast, mean"]


def limited_to_plain(loaded):
    return dataclasses.replace(loaded, outputs={"plain": loaded.outputs["plain"]})


def test_p_values_are_kept_in_the_order_of_the_suspects(results):
    source = next(source for source in results["sources"] if source["key"] == "one/b")
    ruling = pick(results["rulings"], source="one/b", ground="siblings, Student's t", siblings=4)[0]
    of = dict(zip(source["suspects"], ruling["p_values"], strict=True))
    # four of nine siblings judge, the others are suspects
    assert [name for name, value in of.items() if value is None] == [f"sibling-{i}" for i in range(4)]
    independents = {name: value for name, value in of.items() if name.startswith("independent")}
    row = pick(results["accusations"], ground="siblings, Student's t", siblings=4, probes=None, alpha=0.1, of="all")[0]
    assert row["by_source"][1] == [sum(value <= 0.1 for value in independents.values()), 15]


def test_the_papers_attacks_are_averaged_alone_and_what_falls_short_is_named(results):
    row = pick(results["statistics"], statistic="contrast", queries=None)[0]
    for source, cells in row["cells"].items():
        paper = [value for attack, value in cells.items() if not attack.startswith("adaptive")]
        assert row["paper_auc_by_source"][source] == pytest.approx(np.mean(paper), abs=1e-4)
    row = {**row, "cells": {"one/a": {"finetune-all": 0.949, "extract-labels": 0.95, "adaptive-siblings": 0.1}}}
    text = "\n".join(paper_markdown({**results, "statistics": [row]}))
    assert "Cells below 0.95 of contrast, all queries: finetune-all (one/a 0.95)." in text
    assert f"{np.mean(list(row['paper_auc_by_source'].values())):.3f}" in text


def test_thefts_are_found_and_honest_models_are_not(results):
    for siblings in (4, 9):
        student = {"ground": "siblings, Student's t", "siblings": siblings, "probes": None, "alpha": 0.05, "of": "all"}
        assert pick(results["found"], **student)[0]["share"] >= 0.9
        assert pick(results["accusations"], **student)[0]["share"] <= 0.2
    assert pick(results["found"], level="family", of="fine-tuning", siblings=9, probes=30, alpha=0.05)
    # nine siblings cannot give an exact p below 10 %
    assert {row["alpha"] for row in pick(results["found"], ground="siblings, exact")} == {0.1}
    exact = {"ground": "siblings, exact", "siblings": 9, "probes": None, "alpha": 0.1, "of": "all"}
    assert pick(results["found"], **exact)[0]["share"] >= 0.9
    assert pick(results["accusations"], **exact)[0]["hits"] <= 12


def test_the_pool_by_kind_needs_nulls_of_every_kind(results):
    # five nulls of a kind: four without the model itself, and no p at or below 10 %
    assert {row["hits"] for row in results["accusations"] if row["ground"].startswith("null pool by kind")} == {0}
    # all kinds together are fifteen, fourteen without the model itself
    mixed = pick(results["accusations"], ground="null pool, kinds mixed, robust", alpha=0.1, of="all")
    assert mixed[0]["models"] == 45
    assert 0 < mixed[0]["hits"] <= 6
    assert results["matrix"] == []


def test_rotated_tests_are_those_of_all_members(results):
    # ten members with four or nine judges, fifteen honest models, three sources
    assert {(row["siblings"], row["models"]) for row in pick(results["rotated"], of="all")} == {(4, 450), (9, 450)}
    for row in pick(results["rotated"], of="all", alpha=0.05):
        assert row["share"] <= 0.1


def test_statistics_and_budgets(results):
    names = {row["statistic"] for row in results["statistics"]}
    assert {"sac-jc", "robust", "siblings", "contrast", "raw/cosine/l1", "agreement"} <= names
    assert {row["queries"] for row in pick(results["statistics"], statistic="siblings")} == {40, None}
    (complete,) = pick(results["statistics"], statistic="siblings", queries=None)
    assert complete["mean_auc"] > 0.95
    assert (complete["most_queries"], complete["sources"], len(complete["roc"])) == (60, 3, 19)
    cells = results["choices"]["other_tasks"]["cells"]
    assert {cell["task"] for cell in cells} == {"one", "two"}


def test_results_are_json_and_tables_name_the_command(results, tmp_path):
    assert json.loads(json.dumps(results, allow_nan=False)) == json.loads(json.dumps(results))
    text = protocol_markdown(results, "sac-fast evaluate zoos")
    assert "Made by `sac-fast evaluate zoos`" in text
    assert "| one/a | 90.0% | 9 | 8 (0 stole little) |" in text
    pytest.importorskip("matplotlib")
    drawn = [path.stem for path in write_protocol_figures(results, tmp_path)]
    assert drawn == ["found_by_siblings", "found_by_queries", "accusations", "roc"]


def test_one_source_with_more_siblings_has_curves_of_its_own(results, folder, tmp_path):
    more = make_zoo(tmp_path / "one" / "a", n=60, task="one", siblings=12, independents=15, thieves=2)
    protocol = Protocol(sibling_counts=(4, 12), probe_counts=(), budgets=(), rotate=False, weights=False)
    alone = evaluate_sources([more.folder], protocol=protocol).results
    figure = pytest.importorskip("matplotlib.figure").Figure()
    assert protocol_figures._against(figure, results, "siblings", "siblings K", alone)
    for axes, label, rows in (
        (figure.axes[0], "one/a alone (8)", pick(alone["found"], of="all", working=True)),
        (figure.axes[1], "one/a alone", pick(alone["accusations"], of="all")),
    ):
        (line,) = [line for line in axes.get_lines() if line.get_label() == label]
        at = {row["siblings"]: row["share"] for row in pick(rows, ground="siblings, Student's t", alpha=0.05)}
        assert dict(zip(line.get_xdata(), line.get_ydata(), strict=True)) == at
        assert set(at) == {4, 12}
        assert [tick.get_text() for tick in axes.get_xticklabels()] == ["4", "9", "12"]


def test_disputed_probes_are_those_of_different_labels():
    import torch

    agreed, split = torch.eye(3)[[0, 1, 2]], torch.eye(3)[[0, 2, 1]]
    order = disputed_order([agreed, agreed, split])
    assert order.tolist() == [1, 2, 0]
    assert disputed_order([split, agreed, agreed]).tolist() == order.tolist()


@pytest.mark.parametrize(
    ("attack", "of"),
    [
        ("finetune-last", "fine-tuning"),
        ("fine-prune", "pruning"),
        ("extract-knockoff", "extraction"),
        ("extract-adversarial", "adversarial training"),
        ("adaptive-removalnet", "adaptive"),
        ("quantize-int8", "copy"),
        ("of its own", "of its own"),
    ],
)
def test_families(attack, of):
    assert family(attack) == of


def test_stolen_models_that_lost_accuracy_are_listed(tmp_path):
    import dataclasses

    zoo = make_zoo(tmp_path / "task" / "a", n=60, siblings=4, independents=3, thieves=1)
    members = tuple(
        dataclasses.replace(m, accuracy={"extract-labels-0": 0.5, "finetune-all-0": 0.86}[m.name])
        if m.name in ("extract-labels-0", "finetune-all-0")
        else m
        for m in zoo.members
    )
    dataclasses.replace(zoo, members=members).save()
    found = evaluate_sources([tmp_path], protocol=Protocol(probe_counts=(), budgets=(), rotate=False)).results
    assert found["sources"][0]["stole_little"] == ["extract-labels-0"]
    counted = pick(found["found"], ground="siblings, Student's t", alpha=0.05, level="attack")
    assert {(row["of"], row["working"]) for row in counted} == {
        ("extract-labels", False), ("finetune-all", True), ("transfer-all", True), ("adaptive-correlation", True),
    }  # fmt: skip
    assert "extract-labels" not in next(
        row["auc_by_attack"] for row in found["statistics"] if row["statistic"] == "siblings"
    )
    assert np.isfinite(found["seconds"])
