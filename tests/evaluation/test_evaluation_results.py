"""Figures of merit, JSON, tables and CSV of an evaluation."""

import csv
import io
import json
import math
import re
import warnings

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score
from support.nasty_texts import NASTY

from sac_fast.evaluation.figures import write_figures
from sac_fast.evaluation.methods import score_method
from sac_fast.evaluation.run import ZooEvaluation
from sac_fast.evaluation.summary import attack_aucs, mean_auc, mean_tpr, summarise
from sac_fast.evaluation.tables import csv_rows, markdown
from sac_fast.io.text import map_texts
from sac_fast.scores import Score


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


def nasty(results):
    """The results of a zoo whose zoo.json has every nasty text in its names."""
    origins = ["same-data", "other-data", *(g["origin"] for g in results["zoo"]["groups"] if g["role"] == "stolen")]
    names = [*origins, *(m["name"] for m in results["methods"]), *results["members"], "plain", "jpeg"]
    given = {name: f"{name} {NASTY[number % len(NASTY)]}" for number, name in enumerate(dict.fromkeys(names))}
    changed = map_texts(results, lambda text: given.get(text, text))
    changed["not_evaluated"] = {text: text for text in NASTY}
    changed["zoo"]["source"]["architecture"] = " ".join(NASTY)
    return changed


def test_texts_of_a_zoo_give_no_orders(results, loaded, tmp_path):
    changed = nasty(results)
    text = markdown(changed)
    assert all(line.isprintable() for line in text.split("\n"))
    plain = markdown(results)
    assert [line for line in text.split("\n") if line.startswith("#")] == [
        line for line in plain.split("\n") if line.startswith("#")
    ]
    assert not re.search(r"(?<!\\)(\$|!\[|://)|<[a-z/!]", text)

    def columns(lines):
        return [len(re.findall(r"(?<!\\)\|", line)) for line in lines.split("\n") if line.startswith("|")]

    assert columns(text) == columns(plain)
    for delimiter in ",;":
        for row in csv.reader(io.StringIO(csv_rows(changed)), delimiter=delimiter):
            assert not [cell for cell in row if cell.strip(' "')[:1] in tuple("=@＝＋＠")]
    pytest.importorskip("matplotlib", reason="the extra plots is not installed")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font|constrained_layout not applied")
        assert write_figures(changed, loaded, tmp_path)
