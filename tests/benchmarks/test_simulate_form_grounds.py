"""The simulation of siblings, contrast and null pool by output form."""

import json
import sys

import pytest
import simulate_form_grounds
import torch


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(simulate_form_grounds, "FORMS", ("3 decimals", "class numbers"))


def run(tmp_path, monkeypatch, repetitions):
    path = tmp_path / "result.json"
    monkeypatch.setattr(sys, "argv", ["script.py", "--json", str(path), "--repetitions", str(repetitions)])
    code = simulate_form_grounds.main()
    return code, json.loads(path.read_text())


def test_honest_models_and_copies(tmp_path, monkeypatch):
    code, found = run(tmp_path, monkeypatch, 4)
    assert (code, found["violations"]) == (0, [])
    assert found["kind"] == simulate_form_grounds.KIND
    assert len(found["rates"]) == 2 * 4 * 2
    assert {row["copies_found"] for row in found["rates"]} == {1.0}
    assert max(row["rate"] for row in found["rates"] if row["alpha"] == 0.1) > 0


def test_suspects_that_were_made_from_the_source_are_told(tmp_path, monkeypatch):
    honest = simulate_form_grounds.make_models

    def leaking(generator):
        models = honest(generator)
        models[-simulate_form_grounds.SUSPECTS :] = models[0] + 0.3 * torch.randn(models[0].shape, generator=generator)
        return models

    monkeypatch.setattr(simulate_form_grounds, "make_models", leaking)
    code, found = run(tmp_path, monkeypatch, 2)
    assert code == 1
    assert {row["ground"] for row in found["violations"]} == {"siblings", "siblings, max-T", "contrast", "given cohort"}
