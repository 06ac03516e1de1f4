"""The simulation of suspects that answer in another form than the source."""

import json
import sys

import simulate_output_forms
import torch


def run(tmp_path, monkeypatch):
    monkeypatch.setattr(simulate_output_forms, "FORMS", ("top-5", "class numbers"))
    monkeypatch.setattr(simulate_output_forms, "SUSPECTS", 4)
    path = tmp_path / "result.json"
    monkeypatch.setattr(sys, "argv", ["simulate_output_forms.py", "--json", str(path), "--repetitions", "2"])
    code = simulate_output_forms.main()
    return code, json.loads(path.read_text())


def test_honest_models_and_copies(tmp_path, monkeypatch):
    code, found = run(tmp_path, monkeypatch)
    assert (code, found["violations"]) == (0, [])
    assert found["kind"] == simulate_output_forms.KIND
    assert len(found["rates"]) == 3 * 2 * 2
    assert {row["copies_found"] for row in found["rates"]} == {1.0}


def test_suspects_that_were_made_from_the_source_are_told(tmp_path, monkeypatch):
    honest = simulate_output_forms.make_models

    def leaking(generator):
        models = honest(generator)
        models[1 + simulate_output_forms.NULLS :] = models[0] + 0.3 * torch.randn(models[0].shape, generator=generator)
        return models

    monkeypatch.setattr(simulate_output_forms, "make_models", leaking)
    code, found = run(tmp_path, monkeypatch)
    assert code == 1
    assert found["violations"]
