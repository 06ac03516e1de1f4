"""The simulation of the sibling test: its rates, and that a broken test would be told."""

import json
import sys

import pytest
import simulate_siblings
import torch
from simulate_siblings import Cell, make_models, run_cell, violations


def rates_of(found, alpha):
    return {rate["test"]: rate["rate"] for rate in found["rates"] if rate["alpha"] == alpha}


@pytest.fixture
def small_zoos(monkeypatch):
    monkeypatch.setattr(simulate_siblings, "ZOOS", (5, 50))
    monkeypatch.setattr(simulate_siblings, "OTHER_ZOOS", (5, 20))


def run(monkeypatch, path, repetitions):
    monkeypatch.setattr(sys, "argv", ["simulate_siblings.py", "--json", str(path), "--repetitions", str(repetitions)])
    code = simulate_siblings.main()
    return code, json.loads(path.read_text())


@pytest.mark.usefixtures("small_zoos")
@pytest.mark.parametrize("other_classes", [False, True], ids=["same classes", "other classes"])
@pytest.mark.parametrize("form", ["logits", "labels"])
def test_exact_tests_keep_their_rate(form, other_classes):
    found = run_cell(Cell(9, form, "fresh", 60, other_classes), seed=1)
    assert violations([found]) == []
    assert (found["tied"] > 0.05) == (form == "labels")
    at_ten = rates_of(found, 0.1)
    assert at_ten["rank"] > 0
    largest = "max 20" if other_classes else "max 50"
    assert rates_of(found, 0.05)["rank"] == rates_of(found, 0.05)[largest] == 0  # below 1 / (K + 1)


@pytest.mark.usefixtures("small_zoos")
@pytest.mark.parametrize("other_classes", [False, True], ids=["same classes", "other classes"])
def test_a_rate_above_its_level_is_told(monkeypatch, other_classes):
    # the source shares something with all suspects that its siblings do not have
    def leaking(cell, suspects, generator):
        members, others = make_models(cell, suspects, generator)
        shared = torch.randn(members.shape[1:], generator=generator)
        members[0] += shared
        return members, others + shared[:, : others.shape[2]]

    monkeypatch.setattr(simulate_siblings, "make_models", leaking)
    found = run_cell(Cell(9, "logits", "fresh", 40, other_classes), seed=1)
    assert any("rank, α = 0.1" in line for line in violations([found]))
    assert violations([{**found, "exact": False}]) == []


@pytest.mark.usefixtures("small_zoos")
def test_the_command_writes_a_result(monkeypatch, tmp_path, capsys):
    code, found = run(monkeypatch, tmp_path / "found.json", 4)
    assert code == bool(found["violations"])  # four sources are no evidence
    assert found["kind"] == simulate_siblings.KIND
    assert {cell["siblings"] for cell in found["cells"]} == {4, 9, 19, 99}
    assert [cell["repetitions"] for cell in found["cells"] if cell["siblings"] == 4] == [1] * 2
    assert len(capsys.readouterr().out.splitlines()) == len(found["cells"])
    with pytest.raises(SystemExit):
        run(monkeypatch, tmp_path / "missing" / "found.json", 4)


@pytest.mark.slow
def test_short_form_of_the_simulation(monkeypatch, tmp_path):
    code, found = run(monkeypatch, tmp_path / "found.json", 200)
    assert (code, found["violations"]) == (0, [])
