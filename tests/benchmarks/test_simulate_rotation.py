"""Rotated sources: every member is the source once, and the p-values are those of the sibling test."""

import json

import pytest
import simulate_rotation
from support.labelled_zoos import make_zoo


def run(monkeypatch, folder, path):
    monkeypatch.setattr("sys.argv", ["simulate_rotation.py", str(folder), "--json", str(path)])
    return simulate_rotation.main()


def test_every_member_is_the_source_once(tmp_path, capsys, monkeypatch):
    make_zoo(tmp_path / "task" / "one", n=80, siblings=19, independents=15, thieves=1)
    path = tmp_path / "rotation.json"
    assert run(monkeypatch, tmp_path / "task", path) == 0
    found = json.loads(path.read_text())
    rows = {(row["siblings"], row["alpha"], row["of"]): row for row in found["rows"]}
    assert found["sources"] == ["task/one"]
    for siblings in (4, 9, 19):
        assert rows[siblings, 0.05, "all"]["models"] == 20 * 15
        assert rows[siblings, 0.05, "same-data"]["models"] == 20 * 5
        assert rows[siblings, 0.05, "nearest"]["models"] == 20
        # independents know no member better than another: 300 tests, of which those of one suspect hang together
        assert rows[siblings, 0.05, "all"]["share"] < 0.12
        assert rows[siblings, 0.001, "all"]["share"] < 0.02
    # without ties the largest of all is at one member of each group
    assert rows[19, 0.05, "nearest, exact"]["hits"] == 1
    assert rows[9, 0.1, "nearest, exact"]["hits"] == 2
    assert rows[9, 0.05, "nearest, exact"]["hits"] == 0
    assert "K = 19, α = 0.05, nearest, exact: 1 of 20 (5.00%)" in capsys.readouterr().out


def test_other_p_values_than_those_of_the_sibling_test_are_told(tmp_path, monkeypatch):
    make_zoo(tmp_path / "task" / "one", n=80, siblings=19, independents=6, thieves=1)
    standardise = simulate_rotation.standardise
    monkeypatch.setattr(simulate_rotation, "standardise", lambda values: standardise(values) ** 2)
    with pytest.raises(AssertionError):
        run(monkeypatch, tmp_path / "task", tmp_path / "rotation.json")


def test_too_few_siblings_are_told(tmp_path, capsys, monkeypatch):
    make_zoo(tmp_path / "task" / "one", n=80, siblings=9, independents=4, thieves=1)
    assert run(monkeypatch, tmp_path / "task", tmp_path / "rotation.json") == 1
    assert "must hold a source with 19 siblings" in capsys.readouterr().err
