"""The simulation of looks at services: it runs the shipped code, and would tell of a rate above α."""

import json
import sys

import pytest
import simulate_cases
import simulate_looks
from simulate_looks import Cell


@pytest.fixture
def simulate(tmp_path, monkeypatch):
    """Run few repetitions of one small setting: exit code and result."""
    monkeypatch.setattr(simulate_looks, "PROBES", 60)
    monkeypatch.setattr(simulate_looks, "LOOKS", (30, 60))
    monkeypatch.setattr(simulate_looks, "plan_cells", lambda repetitions: [Cell(19, "labels", "exact", repetitions)])

    def call(repetitions):
        path = tmp_path / "result.json"
        monkeypatch.setattr(sys, "argv", ["simulate_looks.py", "--json", str(path), "--repetitions", str(repetitions)])
        return simulate_looks.main(), json.loads(path.read_text())

    return call


def test_the_plans_say_where_alpha_is_spent():
    cells = simulate_looks.plan_cells(10)
    assert {(cell.siblings, cell.spending, cell.exact) for cell in cells} == {
        *((19, "exact", True), (39, "exact", True), (19, "equal", False)),
    }
    assert cells[0].family.looks.alphas == (0, 0, 0.05)
    assert cells[2].family.looks.alphas == (0, 0.025, 0.025)
    together, apart = (cell.family for cell in simulate_cases.plan_cases(10))
    assert (together.together, together.files, together.looks.queries) == (True, 0.05, (160,))
    assert (apart.together, apart.files, apart.looks.alphas) == (False, 0.025, (0, 0, 0.025))


def test_honest_suspects_are_seldom_accused(simulate):
    code, result = simulate(4)
    assert (code, result["kind"], result["violations"]) == (0, simulate_looks.KIND, 0)
    cell = result["cells"][0]
    assert cell["accused"] <= 0.25
    assert 30 <= cell["queries"] <= 60
    assert 0 <= cell["found"] <= 1


def test_suspects_that_know_the_source_are_told(simulate, monkeypatch):
    original = simulate_looks.make_models

    def leaking(cell, generator):
        members, _, thief = original(cell, generator)
        return members, [members[0]] * simulate_looks.HONEST, thief

    monkeypatch.setattr(simulate_looks, "make_models", leaking)
    code, result = simulate(4)
    assert (code, result["violations"]) == (1, 1)
    assert result["cells"][0]["accused"] == 1


def test_a_case_of_files_and_services_is_judged_as_a_whole(simulate, monkeypatch):
    monkeypatch.setattr(simulate_looks, "plan_cells", simulate_cases.plan_cases)
    code, result = simulate(3)
    assert (code, result["violations"]) == (0, 0)
    assert [cell["family"]["together"] for cell in result["cells"]] == [True, False]
    assert all(cell["exact"] for cell in result["cells"])
