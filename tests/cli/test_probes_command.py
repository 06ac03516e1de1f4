"""`sac-fast probes`: every kind, engines compared, a file remade; exit codes as a script sees them."""

import json
import os
import sys

import h5py
import numpy as np
import pytest
from PIL import Image

import sac_fast
from sac_fast.probes import commitment
from sac_fast.probes.dali import missing_dali

MODEL = """
import torch
class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer = torch.nn.Linear(8 * 8 * 3, 2)
    def forward(self, x):
        return self.layer(x.flatten(1))
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with 8 images of two classes and an importable model."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])
    (tmp_path / "probe_models.py").write_text(MODEL)
    rng = np.random.default_rng(0)
    for i in range(8):
        path = tmp_path / "images" / "ab"[i % 2] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(path)
    yield tmp_path
    sys.modules.pop("probe_models", None)


def made(name="p.safetensors"):
    return sac_fast.ProbeSet.load(name)


@pytest.mark.parametrize(
    ("arguments", "count", "kind"),
    [
        (["--normal"], 8, "normal"),
        (["--severity", "1", "--severity", "5"], 16, "jpeg"),
        (["--quality", "30", "--transpose", "--subsampling", "4:4:4", "--engine", "pillow"], 8, "transpose"),
        (["--cutmix", "--seed", "3"], 8, "cutmix"),
        (["--severity", "3", "--limit", "3", "--commit-seed", "s"], 3, "jpeg"),
        (["--normal", "--labels", "folder", "--per-class", "2"], 4, "normal"),
        (["--normal", "--distinct", "--image-size", "16x12"], 8, "normal"),
    ],
)
def test_kinds_are_made_and_remade(folder, run, arguments, count, kind):
    code, out, _ = run("probes", "images", *arguments, "--out", "p.safetensors", "--json", "-q")
    assert code == 0
    result = json.loads(out)
    assert (result["probes"], result["kind"], result["skipped"]) == (count, kind, 0)
    assert result["probe_hash"] == made().content_hash
    code, out, _ = run("probes", "verify", "p.safetensors", "--images", "images", "--json", "-q")
    assert code == 0
    assert json.loads(out)["equal_images"] == count


def test_seed_of_a_committed_draw(folder, run):
    run("probes", "images", "--normal", "--limit", "3", "--commit-seed", "my seed", "--out", "p.safetensors", "-q")
    assert made().provenance["selection"][0]["commitment"] == commitment("my seed")


def test_committed_draw_of_a_part_of_a_file(folder, run):
    with h5py.File("x.h5", "w") as file:
        file["data"] = np.random.default_rng(0).integers(0, 256, (10, 8, 8, 3), dtype=np.uint8)
    assert run("probes", "x.h5", "--limit", "6", "--normal", "--out", "p1.safetensors", "-q")[0] == 0
    commit = ("--limit", "3", "--commit-seed", "s")
    assert run("probes", "p1.safetensors", *commit, "--quality", "50", "--out", "p2.safetensors", "-q")[0] == 0
    code, out, _ = run("probes", "verify", "p2.safetensors", "--images", "x.h5", "-q")
    assert code == 5
    assert "selection: the committed draw was not from a whole folder or HDF5 file" in out
    assert run("probes", "x.h5", *commit, "--normal", "--out", "p3.safetensors", "-q")[0] == 0
    code, out, _ = run("probes", "verify", "p3.safetensors", "--images", "x.h5", "-q")
    assert (code, "selection:" in out) == (0, False)


def test_unequal_pixels_are_a_finding(folder, run):
    run("probes", "images", "--severity", "3", "--out", "p.safetensors", "-q")
    Image.new("RGB", (8, 8)).save("images/a/2.png")
    code, out, err = run("probes", "verify", "p.safetensors", "--images", "images", "-q")
    assert (code, err) == (5, "")
    lines = out.splitlines()
    assert lines[0] == "a/0.png: equal"
    assert lines[1].startswith("a/2.png: another file: sha256:")
    assert lines[-1] == "7 of 8 probes are equal, pixel for pixel"


def test_make_can_be_named(folder, run):
    assert run("probes", "make", "images", "--normal", "--out", "p.safetensors", "-q")[0] == 0
    (folder / "verify").mkdir()
    Image.new("RGB", (8, 8)).save("verify/x.png")
    assert run("probes", "./verify", "--normal", "--out", "q.safetensors", "-q")[0] == 0
    assert len(made("q.safetensors")) == 1


def test_probe_files_are_a_source_and_a_part(folder, run):
    run("probes", "images", "--normal", "--labels", "folder", "--out", "p.safetensors", "-q")
    run(
        "fingerprint",
        "probe_models:Net",
        "--random-weights",
        "--probes",
        "p.safetensors",
        "--out",
        "f.safetensors",
        "-q",
    )
    answers = sac_fast.Fingerprint.load("f.safetensors").outputs.argmax(1).numpy()
    wrong = np.flatnonzero(answers != made().labels)
    assert 0 < len(wrong) < 8
    code, _, _ = run(
        *("probes", "p.safetensors", "--normal", "--misclassified-by", "f.safetensors"),
        *("--mix", "p.safetensors", "--out", "w.safetensors", "-q"),
    )
    assert code == 0
    expected = np.concatenate([made().images[wrong], made().images])
    np.testing.assert_array_equal(made("w.safetensors").images, expected)
    assert run("probes", "verify", "w.safetensors", "--images", "images", "-q")[0] == 0
    run(
        "probes",
        "p.safetensors",
        "--quality",
        "9",
        "--limit",
        "2",
        "--commit-seed",
        "s",
        "--out",
        "q.safetensors",
        "-q",
    )
    assert len(made("q.safetensors")) == 2
    run("probes", "p.safetensors", "--quality", "9", "--limit", "3", "--out", "r.safetensors", "-q")
    expected = made().subset([0, 1, 2]).jpeg(quality=9).images
    np.testing.assert_array_equal(made("r.safetensors").images, expected)


def test_compare_engines(folder, run):
    before = sorted(os.listdir())
    arguments = ("probes", "images", "--quality", "10", "--compare-engines", "--model", "probe_models:Net")
    code, out, _ = run(*arguments, "--json", "-q")
    assert code == 0
    result = json.loads(out)
    rows = {row["engine"]: row for row in result["engines"] if row["device"] == "cpu"}
    assert result["probes"] == 8
    assert (rows["pillow"]["share"], rows["pillow"]["largest"], rows["pillow"]["distance"]) == (0.0, 0, 0.0)
    assert (rows["dali"]["unavailable"] is None) == (missing_dali() is None)
    code, out, _ = run(*arguments, "-q")
    assert code == 0
    assert "pillow  cpu     0.00%" in out
    assert sorted({*os.listdir()} - {"__pycache__"}) == before


def test_skip_bad(folder, run):
    (folder / "images/a/bad.png").write_text("no image")
    code, _, err = run("probes", "images", "--normal", "--out", "p.safetensors", "-q")
    assert (code, (folder / "p.safetensors").exists()) == (1, False)
    assert "a/bad.png' cannot be decoded" in err
    code, out, _ = run("probes", "images", "--normal", "--skip-bad", "--out", "p.safetensors", "-q", "--json")
    assert code == 0
    assert json.loads(out)["skipped"] == 1
    assert made().provenance["source"]["skipped"][0]["name"] == "a/bad.png"


@pytest.mark.skipif(missing_dali() is not None, reason=str(missing_dali()))
def test_dali_loader_and_engine(folder, run):
    arguments = ("probes", "images", "--loader", "dali", "--engine", "dali", "--image-size", "8", "--severity", "3")
    code, out, _ = run(*arguments, "--out", "p.safetensors", "-q", "--json")
    assert code == 0
    assert (json.loads(out)["jpeg_engine"], json.loads(out)["exact"]) == ("dali", True)
    run("probes", "images", "--severity", "3", "--engine", "pillow", "--out", "q.safetensors", "-q")
    np.testing.assert_array_equal(made().images, made("q.safetensors").images)
    assert run("probes", "verify", "p.safetensors", "--images", "images", "-q")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--cutmix", "--severity", "3", "--out", "p"], "exactly one of"),
        (["--severity", "3"], "exactly one of --out and --compare-engines"),
        (["--severity", "3", "--out", "p", "--compare-engines"], "exactly one of --out and --compare-engines"),
        (["--cutmix", "--compare-engines"], "--compare-engines needs --severity or --quality"),
        (["--normal", "--out", "p", "--model", "m:f"], "--model is for --compare-engines"),
        (["--corruption", "fog", "--out", "p"], "must be NAME:SEVERITY, severity 1…5, got 'fog'"),
        (["--corruption", "fog:6", "--out", "p"], "must be NAME:SEVERITY, severity 1…5, got 'fog:6'"),
        (["--normal", "--out", "p", "--loader", "dali"], "--loader dali needs --image-size"),
        (["--severity", "3", "--compare-engines", "--model", "m:f", "--std", "0"], "std must be above 0"),
    ],
)
def test_bad_usage_is_exit_code_2(folder, run, arguments, message):
    code, out, err = run("probes", "images", *arguments)
    assert (code, out) == (2, "")
    assert message in " ".join(err.split())


def test_failures_are_exit_code_1(folder, run):
    sac_fast.ProbeSet.from_arrays(np.zeros((2, 8, 8, 3), np.uint8)).save("arrays.safetensors")
    cases = [
        (["verify", "arrays.safetensors", "--images", "images"], "got 'arrays'"),
        (["verify", "probe_models.py", "--images", "images"], "FileFormatError"),
        (["images", "--cutmix", "--limit", "1", "--out", "p"], "probes must be at least 2"),
        (["images", "--corruption", "rain:3", "--out", "p"], "corruption must be one of"),
    ]
    for arguments, message in cases:
        code, out, err = run("probes", *arguments)
        assert (code, out) == (1, ""), arguments
        assert message in err
        assert not os.path.exists("p")
