"""The simulation of null pools: its rates, and that a broken one would be told."""

import dataclasses
import json
import sys

import pytest
import simulate_pools
from simulate_pools import SCORES, Cell, make_models, plan_cells, run_cell, violations


def run(monkeypatch, path, repetitions, *cells):
    monkeypatch.setattr(sys, "argv", ["simulate_pools.py", "--json", str(path), "--repetitions", str(repetitions)])
    if cells:
        monkeypatch.setattr(simulate_pools, "plan_cells", lambda repetitions: list(cells))
    code = simulate_pools.main()
    return code, json.loads(path.read_text())


@pytest.mark.parametrize("score", SCORES)
def test_rates_stay_below_their_level(score):
    found = run_cell(Cell(score, "labels", "by kind", 9, 12), seed=1)
    assert violations([found]) == []
    assert [rate["rate"] for rate in found["rates"][:2]] == [0.0, 0.0]  # below 1 / 10


def test_a_rate_above_its_level_is_told(monkeypatch):
    # the suspect shares with the source what no null does
    def leaking(cell, generator):
        models = make_models(cell, generator)
        return dataclasses.replace(models, suspect=models.suspect + 2 * models.source)

    monkeypatch.setattr(simulate_pools, "make_models", leaking)
    found = run_cell(Cell("distance", "logits", "by kind", 19, 20), seed=1)
    assert any("by kind, 19 nulls, α = 0.1" in line for line in violations([found]))
    assert violations([{**found, "exact": False}]) == []


def test_a_pool_without_the_kind_of_the_suspect_has_no_rate():
    found = run_cell(Cell("distance", "logits", "undeclared", 19, 30), seed=1)
    assert found["rates"][2]["rate"] > 0.3
    assert violations([found]) == []


def test_the_plan_covers_what_is_promised():
    cells = plan_cells(2000)
    assert {(cell.score, cell.form) for cell in cells if cell.pool == "by kind"} == {
        (score, form) for score in SCORES for form in ("logits", "labels")
    }
    assert {cell.score for cell in cells if cell.nulls == 99} == set(SCORES)
    assert all(cell.repetitions == 2000 for cell in cells)


def test_the_command_writes_a_result(monkeypatch, tmp_path, capsys):
    code, found = run(monkeypatch, tmp_path / "found.json", 2, Cell("contrast", "logits", "copies", 4, 2))
    assert code == bool(found["violations"])  # two sources are no evidence
    assert (found["kind"], found["cells"][0]["pool"]) == (simulate_pools.KIND, "copies")
    assert len(capsys.readouterr().out.splitlines()) == 1
    with pytest.raises(SystemExit):
        run(monkeypatch, tmp_path / "missing" / "found.json", 2)


@pytest.mark.slow
@pytest.mark.parametrize("score", SCORES)
def test_short_form_of_the_simulation(monkeypatch, tmp_path, score):
    cells = [Cell(score, form, "by kind", 19, 200) for form in ("logits", "labels")]
    code, found = run(monkeypatch, tmp_path / "found.json", 200, *cells)
    assert (code, found["violations"]) == (0, [])
