"""False claims on recorded outputs: choices can only add to what the committed test accuses."""

import json

import pytest
import simulate_false_claims
from support.labelled_zoos import make_zoo


@pytest.fixture(autouse=True)
def small(monkeypatch):
    for name, value in {"SIBLINGS": 19, "PROBES": 60, "COUNTS": (30, 60), "DRAWS": 2, "TOWARD": (0.5,)}.items():
        monkeypatch.setattr(simulate_false_claims, name, value)


def test_choices_add_to_the_claims(tmp_path, capsys, monkeypatch):
    make_zoo(tmp_path / "task" / "one", n=80, siblings=19, independents=6, thieves=1)
    path = tmp_path / "claims.json"
    monkeypatch.setattr("sys.argv", ["simulate_false_claims.py", str(tmp_path / "task"), "--json", str(path)])
    assert simulate_false_claims.main() == 0
    claims = json.loads(path.read_text())["claims"]
    hits = {name: share["hits"] for name, share in claims.items()}
    assert {share["models"] for share in claims.values()} == {6}
    committed = hits.pop("committed: one source, score and set of probes")
    assert committed <= 2
    # one of 20 members is always the nearest
    assert hits["best of 20 trainings as the source"] == 6
    assert hits["source with 50% of the victim's outputs"] == 6
    assert all(value >= committed for name, value in hits.items() if "number" in name or "score" in name)
    assert "best of 20 trainings as the source: 6 of 6" in capsys.readouterr().out


def test_too_few_siblings_are_told(tmp_path, capsys, monkeypatch):
    make_zoo(tmp_path / "task" / "one", n=80, siblings=4, independents=4, thieves=1)
    arguments = ["simulate_false_claims.py", str(tmp_path / "task"), "--json", str(tmp_path / "claims.json")]
    monkeypatch.setattr("sys.argv", arguments)
    assert simulate_false_claims.main() == 1
    assert "must hold a source with 19 siblings and 60 probes" in capsys.readouterr().err
