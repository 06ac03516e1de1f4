"""The command line as a user types it: stdout, stderr, exit codes, files."""

import io
import json
import re
import subprocess
import sys

import h5py
import numpy as np
import pytest
import torch

import sac_fast
from sac_fast.io.version import package_version


def test_from_images_to_a_verdict(made, run):
    code, out, _ = run("verify", "0.safetensors", "1.safetensors", "--null", "null", "--alpha", "0.2", "--json")
    result = json.loads(out)
    assert code == 0
    assert (result["ground"], result["verdict"]) == ("null pool", {"1": "derived"})
    assert result["p_value"]["1"] == result["smallest_p"] == pytest.approx(1 / 6)
    score = "similarity given the other nulls"
    assert result["tried"] == {"1": [{"ground": "null pool", "score": score, "p_value": 1 / 6}]}
    assert "declare no kind" in result["conditions"][1]
    # the published distance is one flag away
    code, out, _ = run(
        "verify", "0.safetensors", "1.safetensors", "--null", "null", "--alpha", "0.2", "--metric", "cosine", "--json"
    )
    result = json.loads(out)
    assert result["tried"] == {"1": [{"ground": "null pool", "score": "cosine, l1", "p_value": 1 / 6}]}
    pool = result["pool"]["1"]
    source, suspect = (sac_fast.Fingerprint.load(made / f"{i}.safetensors") for i in (0, 1))
    assert pool["distance"] == pytest.approx(sac_fast.correlation_distance(source.outputs, suspect.outputs).item())
    assert sorted(pool["null_distances"]) == ["2", "3", "4", "5", "6"]
    assert min(pool["null_distances"].values()) > pool["distance"]

    code, out, _ = run("verify", "0.safetensors", "null/2.safetensors", "--null", "1.safetensors", "--alpha", "0.5")
    assert code == 0
    assert "verdict: not distinguished" in out or "verdict: inconclusive" in out
    # the model's weights are hashed, and the run is recorded
    assert source.model_hash == sac_fast.weights_hash(
        sac_fast.load_model("cli_models:Net", weights="weights0.safetensors")
    )
    assert source.provenance["preprocessing"]["mean"] == [0.5, 0.5, 0.5]


def test_kinds_of_nulls_and_several_suspects(made, run):
    nulls = ("--null", "same-data-same-architecture=null", "--alpha", "0.2", "--metric", "cosine")
    code, out, _ = run("verify", "0.safetensors", "1.safetensors", "probes2.safetensors", *nulls)
    assert code == 2  # no such file
    twin = sac_fast.Fingerprint.load("null/6.safetensors")
    (made / "null/6.safetensors").unlink()
    twin.save("6.safetensors")
    code, out, _ = run("verify", "0.safetensors", "1.safetensors", "6.safetensors", *nulls, "--json")
    result = json.loads(out)
    assert code == 0
    assert result["pool"]["1"]["by_kind"] == {"same-data-same-architecture": 0.2}
    # Holm: two suspects cannot be accused by a pool of four nulls
    assert result["adjusted"]["1"] == 0.4
    assert result["verdict"] == {"1": "inconclusive", "6": "not distinguished"}
    code, out, _ = run("verify", "0.safetensors", "1.safetensors", "--null", "other-data=null", "--alpha", "0.2")
    assert "too few of the kinds: same-data-same-architecture (0)" in " ".join(out.split())
    for kind in ([], ["--kind", "other-data"]):
        code, out, _ = run("verify", "0.safetensors", "1.safetensors", "6.safetensors", *nulls, *kind)
        assert code == 0
    code, _, err = run("verify", "0.safetensors", "1.safetensors", "--null", "twin=null")
    assert (code, "must be PATH or KIND=PATH" in " ".join(err.split())) == (2, True)


def test_siblings_are_the_stronger_ground(made, run):
    """Five siblings are few: Student's t; the contrast where there are fewer than four; both by Bonferroni."""
    (made / "siblings").mkdir()
    for i in range(2, 7):
        (made / f"null/{i}.safetensors").rename(made / f"siblings/{i}.safetensors")
    code, out, _ = run("verify", "0.safetensors", "1.safetensors", "--siblings", "siblings")
    assert code == 0
    assert "ground" in out
    assert "siblings (5 siblings are the strongest ground, though few)" in " ".join(out.split())
    assert re.search(r"source among siblings .* \(siblings .*\), rank \S+ of 6, p = ", " ".join(out.split()))
    code, out, _ = run(
        "verify", "0.safetensors", "1.safetensors", "--siblings", "siblings", "--preset", "sac-jc", "--json"
    )
    assert json.loads(out)["tried"]["1"][0]["score"] == "sac-jc"
    for i in range(2, 5):
        (made / f"siblings/{i}.safetensors").rename(made / f"null/{i}.safetensors")
    nulls = ("--siblings", "siblings", "--null", "null", "--alpha", "0.25")
    code, out, _ = run("verify", "0.safetensors", "1.safetensors", *nulls, "--json")
    assert json.loads(out)["tried"]["1"][0]["score"] == "contrast with 2 siblings"
    assert json.loads(out)["verdict"] == {"1": "derived"}


def test_weights_are_reported_beside_the_verdict(made, run):
    files = ("--source-weights", "weights0.safetensors", "--suspect-weights", "weights1.safetensors")
    code, out, _ = run("verify", "0.safetensors", "1.safetensors", "--null", "null", *files)
    assert code == 0
    assert "no part of the verdict" in out
    code, _, err = run("verify", "0.safetensors", "1.safetensors", *files[:2])
    assert (code, "goes with --suspect-weights" in err) == (2, True)
    code, _, err = run("verify", "0.safetensors", "1.safetensors", "2.safetensors", *files)
    assert code == 2


@pytest.mark.parametrize("nulls", [[], ["--null", "null/2.safetensors"]])
def test_too_few_nulls_are_inconclusive(made, run, nulls):
    code, out, _ = run("verify", "0.safetensors", "1.safetensors", *nulls)
    assert code == 0
    assert "verdict: inconclusive" in out
    assert "needs at least 19" in out  # 1/(1+m) <= 0.05


def test_a_null_must_be_a_model_of_its_own(made, run):
    code, out, err = run("verify", "0.safetensors", "1.safetensors", "--null", "1.safetensors")
    assert (code, out) == (1, "")
    assert "a null must be a model of its own, got '1' with the weights of the suspect" in err


def test_different_probes_name_both_hashes(made, run):
    run("probes", "normal", "images", "--out", "other.safetensors")
    kind = ("--kind", "same-data")
    taken = ("fingerprint", "cli_models:Net", "--random-weights", "--probes", "other.safetensors")
    run(*taken, "--out", "x.safetensors", *kind)
    assert sac_fast.Fingerprint.load("x.safetensors").kind == "same-data"
    code, out, err = run("verify", "0.safetensors", "x.safetensors")
    hashes = [sac_fast.ProbeSet.load(made / name).content_hash for name in ("probes.safetensors", "other.safetensors")]
    assert (code, out) == (1, "")
    assert all(h in err for h in hashes)


def test_hdf5_probes(folder, run):
    pixels = np.random.default_rng(1).integers(0, 256, (4, 3, 8, 8), dtype=np.uint8)
    with h5py.File("probes.h5", "w") as file:
        file["data"] = pixels / 255
        file["label"] = np.arange(4)
    code, out, _ = run("probes", "normal", "probes.h5", "--out", "p.safetensors", "--json")
    assert code == 0
    assert json.loads(out)["labelled"] is True
    np.testing.assert_array_equal(sac_fast.ProbeSet.load("p.safetensors").images, pixels.transpose(0, 2, 3, 1))


def test_output_is_chosen(made, run):
    arguments = (
        "fingerprint",
        "cli_models:Pair",
        "--random-weights",
        "--probes",
        "probes.safetensors",
        "--out",
        "x.safetensors",
    )
    code, _, err = run(*arguments)
    assert code == 1
    assert "logits" in err
    assert "other" in err
    code, out, _ = run(*arguments, "--output", "other", "--json")
    assert code == 0
    assert json.loads(out)["outputs"] == 192
    for text in ("--3", "9" * 5000):  # no numbers, so keys
        code, _, err = run(*arguments, f"--output={text}", "--force")
        assert (code, err.startswith("sac-fast: ModelError: ")) == (1, True)
        assert text[:400] in err
        assert len(err) < 1100


def test_arguments_of_the_architecture_that_fits_a_file(made, run):
    """--model-args are those of every architecture, beside its own; the outputs are the callable's."""
    file = ("fingerprint", "weights0.safetensors", "--probes", "probes.safetensors", "--mean", "0.5", "--std", "0.25")
    for given in (
        ["cli_models:Net", "--model-args", '{"classes": 5}'],
        ['cli_models:Net {"classes": 5}', "--model-args", '{"classes": 4}'],
    ):
        code, _, err = run(*file, "--out", "x.safetensors", "--force", "-q", "--architecture", *given)
        assert (code, err) == (0, "")
        wanted = sac_fast.Fingerprint.load("0.safetensors")
        assert torch.equal(sac_fast.Fingerprint.load("x.safetensors").outputs, wanted.outputs)
    code, _, err = run(
        *file, "--out", "y.safetensors", "--architecture", "cli_models:Net", "--model-args", '{"classes": 4}'
    )
    assert (code, 'cli_models:Net {"classes": 4}' in err) == (1, True)


def test_a_terminal_without_the_letters_gets_the_whole_result(made, monkeypatch):
    stdout = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stdout)
    monkeypatch.setattr(sys, "argv", ["sac-fast", "verify", "0.safetensors", "1.safetensors", "--null", "null"])
    with pytest.raises(SystemExit) as caught:
        sys.exit(sac_fast.cli.main.main())
    stdout.flush()
    assert not caught.value.code
    lines = stdout.buffer.getvalue().decode("ascii").splitlines()
    nulls = next(line for line in lines if line.startswith("nulls "))
    assert " ? " in nulls  # of "…"


def test_results_and_progress_go_apart(made):
    command = [sys.executable, "-m", "sac_fast", "fingerprint", "cli_models:Net", "--random-weights"]
    command += ["--probes", "probes.safetensors", "--out", "y.safetensors", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=made, check=True)
    assert json.loads(done.stdout)["name"] == "y"


def test_every_command_has_help(run):
    for command in ("info", "demo", "probes jpeg", "fingerprint", "verify"):
        code, out, _ = run(*command.split(), "--help")
        assert code == 0
        assert "--json" in out


def test_version(run):
    assert run("--version") == (0, f"sac-fast {package_version()}\n", "")
