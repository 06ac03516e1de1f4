"""`sac-fast audit` as a user types it."""

import json
import pathlib

import numpy as np
import pytest
import torch

import sac_fast
from sac_fast.audit.case import load_case


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Recorded outputs of a source, a copy, an honest model and nulls."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    probes = sac_fast.ProbeSet.from_arrays(rng.integers(0, 256, (60, 4, 4, 3), dtype=np.uint8))
    probes.save("p.safetensors")
    task = 2 * rng.normal(size=(60, 4))
    for i in range(21):
        outputs = torch.from_numpy(task + rng.normal(size=(60, 4)))
        name = "mine" if i == 0 else f"null{i:02}"
        sac_fast.Fingerprint(outputs, {"name": name, "probe_hash": probes.content_hash}).save(f"{name}.safetensors")
    copy = sac_fast.Fingerprint.load("mine.safetensors")
    sac_fast.Fingerprint(2 * copy.outputs, {**copy.provenance, "name": "copy"}).save("copy.safetensors")
    return tmp_path


INIT = (
    *("audit", "case.toml", "--init", "--source-model", "mine.safetensors", "--probe-images", "p.safetensors"),
    *("--suspect", "cop*.safetensors", "--independent", "null*.safetensors"),
)


def test_from_a_few_options_to_verdicts(folder, run):
    code, out, err = run(*INIT)
    assert (code, err) == (0, "")
    assert "--dry-run" in out
    code, out, _ = run("audit", "case.toml", "--dry-run")
    assert code == 0
    assert "null pool" in out
    assert not (folder / "case-audit").exists()
    code, out, err = run("audit", "case.toml", "--commit", "-q", "--json")
    assert (code, err) == (0, "")
    committed = json.loads(out)["protocol_hash"]
    code, out, _ = run("audit", "case.toml", "--stage", "verdicts", "-q", "--json")
    found = json.loads(out)
    assert (code, found["protocol_hash"]) == (0, committed)
    assert found["verdict"] == {"copy.safetensors": "derived"}
    assert found["command"] == "sac-fast audit case.toml --stage verdicts -q --json"
    code, out, _ = run("audit", "case.toml", "-q")
    assert code == 0
    assert "derived" in out
    assert (folder / "case-audit" / "report.json").exists()
    assert "report.html" in out


def test_a_new_case_says_what_was_typed(folder, run):
    more = ("--build", "m:build", "--build", "m:other", "--train-siblings", "m:train", "--sibling-count", "39")
    code, _, err = run(*INIT, *more, "--probe-limit", "50", "--probe-severity", "2", "--model-colours", "GRAY",
                       "--suspect", "https://example.org/x?y=1", "--suspect", "answers.csv",
                       "--independent", "same-data=others")  # fmt: skip
    assert (code, err) == (0, "")
    made = load_case("case.toml")
    assert (made.source.architecture, made.architectures) == ("m:build", ("m:build", "m:other"))
    assert (made.siblings.train, made.siblings.count) == ("m:train", 39)
    assert (made.probes.limit, made.probes.severity, made.source.preprocessing.colour_order) == (50, 2, "GRAY")
    assert [(spec.path, spec.kind) for spec in made.independents] == [
        ("null*.safetensors", None),
        ("others", "same-data"),
    ]
    assert made.suspects[1].service.url == "https://example.org/x?y=1"
    assert made.suspects[2].answers == "answers.csv"


@pytest.mark.parametrize("name", ['a"b.onnx', "a\\b.onnx", "ä #.onnx", "[[x]]"])
def test_any_name_can_be_written(folder, run, name):
    code, _, _ = run("audit", "case.toml", "--init", "--source-model", name, "--probe-images", "p")
    assert code == 0
    assert load_case("case.toml").source.path == name


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        ((), 2, "must be a file"),
        (("--init",), 2, "--source-model"),
        (("--init", "--source-model", "a"), 2, "--probe-images"),
        (("--sibling-count", "9"), 2, "--sibling-count"),
        ((*INIT[2:], "--independent", "twin=a"), 1, "KIND=PATH"),
        ((*INIT[2:], "--suspect", "http://example.org"), 1, "https://"),
        (("--init", "--source-model", "a\nb", "--probe-images", "p"), 1, "printable"),
    ],
)
def test_wrong_use_is_told(folder, run, options, code, message):
    got, _, err = run("audit", "case.toml", *options)
    assert got == code
    assert message in err
    assert not pathlib.Path("case.toml").exists()


def test_a_case_is_not_written_over(folder, run):
    assert run(*INIT)[0] == 0
    code, _, err = run(*INIT)
    assert code == 1
    assert "must not exist yet" in err
