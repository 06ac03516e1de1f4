"""`sac-fast siblings`: in processes of its own, with code from the current folder that the user named."""

import json

import pytest
from support.siblings import run_jobs_here

RECIPE = """
import pathlib
import torch
from cli_models import Net
def train(seed):
    torch.manual_seed(seed)
    failed = pathlib.Path("failed.txt")
    if not failed.exists():
        failed.write_text(str(seed))
        raise RuntimeError("the first one fails")
    return Net(), 0.5 + seed / 2**34
"""


@pytest.fixture
def ready(folder, run):
    (folder / "recipe_of_mine.py").write_text(RECIPE)
    assert run("probes", "images", "--severity", "3", "--out", "probes.safetensors")[0] == 0
    return folder


def test_siblings_are_made_drawn_and_verified(ready, run):
    make = ("siblings", "make", "--train", "recipe_of_mine:train", "--count", "2", "--out", "sib", "-q")
    with_probes = (*make, "--workers", "1", "--probes", "probes.safetensors", "--mean", "0.5")
    code, out, err = run(*with_probes)
    assert code == 1
    assert "1 made, 0 there already, 1 failed" in out
    assert "sibling-01: ModelError: train failed at recipe_of_mine.py:10: RuntimeError: the first one fails" in err
    code, _, err = run("siblings", "draw", "sib")
    assert code == 1
    assert "DrawError: all 2 siblings must be trained" in err
    code, out, err = run(*with_probes, "--json")
    made = json.loads(out)
    assert (code, err, made["made"], made["failed"]) == (0, "", ["sibling-01"], {})
    assert {path.name for path in (ready / "sib/fingerprints/probes").iterdir()} == {
        "sibling-01.safetensors",
        "sibling-02.safetensors",
    }
    assert (ready / "failed.txt").read_text() == str(made["members"][0]["seed"])
    code, out, err = run("siblings", "draw", "sib", "--json")
    drawn = json.loads(out)
    assert (code, err, drawn["choice"]) == (0, "", "committed")
    code, out, _ = run("siblings", "draw", "sib", "--verify")
    assert code == 0
    assert "the draw holds" in out
    assert drawn["commitment"] in out
    code, out, err = run(*with_probes)
    assert (code, err) == (0, "")
    assert "the source" in out


def test_models_that_are_there_and_a_choice_of_the_best(ready, run, monkeypatch):
    run_jobs_here(monkeypatch)
    code, out, err = run(
        *("siblings", "make", "--from", "null-weights", "--out", "sib", "-q"), *("--model", "cli_models:Net")
    )
    assert code == 2
    assert "--from" in err
    (ready / "have").mkdir()
    for i in range(3):
        (ready / f"weights{i}.safetensors").rename(ready / "have" / f"run{i}.safetensors")
    code, out, err = run(
        *("siblings", "make", "--from", "have", "--out", "sib", "-q", "--workers", "1"),
        *("--model", "cli_models:Net", "--probes", "probes.safetensors"),
    )
    assert (code, err) == (0, "")
    assert "3 made" in out
    code, out, err = run("siblings", "draw", "sib", "--best")
    assert code == 1
    assert "accuracies must be known" in err
    code, out, err = run("siblings", "draw", "sib")
    assert (code, err) == (0, "")
    assert "not known of all" in out
    index = json.loads((ready / "sib/siblings.json").read_text())
    index["task"]["draw"]["choice"] = "best"
    (ready / "sib/siblings.json").write_text(json.dumps(index))
    code, _, err = run("siblings", "draw", "sib", "--verify")
    assert code == 5
    assert "the draw does not hold: owned-run" in err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "must be given, or --from"),
        (["--from", "images", "--fork", "weights0.safetensors"], "goes with --train"),
        (["--train", "a:b", "--model-args", "{}x"], "must be JSON"),
        (["--train", "a:b", "--model-args", '{"a": 1}'], "goes with --model"),
        (["--train", "a:b", "--mean", "x"], "must be numbers"),
        (["--train", "a:b", "--count", "0"], "--count"),
        (["--train", "a:b", "--source", "weights0.safetensors"], "goes with --model"),
        (["--train", "a:b", "--output-form", "logit"], "must be one of logits,"),
    ],
)
def test_wrong_uses_are_refused(ready, run, options, words):
    code, _, err = run("siblings", "make", "--out", "sib", *options)
    assert code == 2
    assert words in " ".join(err.split())
    assert not (ready / "sib").exists()


def test_code_that_is_not_there_and_options_that_do_not_go_together(ready, run):
    code, _, err = run("siblings", "make", "--out", "sib", "--train", "nowhere:train", "-q")
    assert code == 1
    assert "ModelError: cannot import 'nowhere'" in err
    assert run("siblings", "draw", "images", "--best", "--verify")[0] == 2
