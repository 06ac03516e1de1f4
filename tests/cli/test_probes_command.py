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
        (["normal"], 8, "normal"),
        (["jpeg", "--severity", "1", "--severity", "5"], 16, "jpeg"),
        (["jpeg", "--quality", "30", "--transpose", "--subsampling", "4:4:4", "--engine", "pillow"], 8, "transpose"),
        (["cutmix", "--seed", "3"], 8, "cutmix"),
        (["jpeg", "--severity", "3", "--limit", "3", "--commit-seed", "s"], 3, "jpeg"),
        (["normal", "--labels", "folder", "--per-class", "2"], 4, "normal"),
        (["normal", "--distinct", "--image-size", "16x12"], 8, "normal"),
    ],
)
def test_kinds_are_made_and_remade(folder, run, arguments, count, kind):
    kind_of, *options = arguments
    code, out, _ = run("probes", kind_of, "images", *options, "--out", "p.safetensors", "--json", "-q")
    assert code == 0
    result = json.loads(out)
    assert (result["probes"], result["kind"], result["skipped"]) == (count, kind, 0)
    assert result["probe_hash"] == made().content_hash
    code, out, _ = run("probes", "verify", "p.safetensors", "--images", "images", "--json", "-q")
    assert code == 0
    assert json.loads(out)["equal_images"] == count


def test_seed_of_a_committed_draw(folder, run):
    run("probes", "normal", "images", "--limit", "3", "--commit-seed", "my seed", "--out", "p.safetensors", "-q")
    assert made().provenance["selection"][0]["commitment"] == commitment("my seed")


def test_committed_draw_of_a_part_of_a_file(folder, run):
    with h5py.File("x.h5", "w") as file:
        file["data"] = np.random.default_rng(0).integers(0, 256, (10, 8, 8, 3), dtype=np.uint8)
    assert run("probes", "normal", "x.h5", "--limit", "6", "--out", "p1.safetensors", "-q")[0] == 0
    commit = ("--limit", "3", "--commit-seed", "s")
    assert run("probes", "p1.safetensors", *commit, "--quality", "50", "--out", "p2.safetensors", "-q")[0] == 0
    code, out, _ = run("probes", "verify", "p2.safetensors", "--images", "x.h5", "-q")
    assert code == 5
    assert "selection: the committed draw was not from a whole folder or HDF5 file" in out
    assert run("probes", "normal", "x.h5", *commit, "--out", "p3.safetensors", "-q")[0] == 0
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


def test_a_folder_named_like_a_command(folder, run):
    assert run("probes", "normal", "images", "--out", "p.safetensors", "-q")[0] == 0
    (folder / "verify").mkdir()
    Image.new("RGB", (8, 8)).save("verify/x.png")
    assert run("probes", "./verify", "--severity", "3", "--out", "q.safetensors", "-q")[0] == 0
    assert len(made("q.safetensors")) == 1


def test_probe_files_are_a_source_and_a_part(folder, run):
    run("probes", "normal", "images", "--labels", "folder", "--out", "p.safetensors", "-q")
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
        *("probes", "normal", "p.safetensors", "--misclassified-by", "f.safetensors"),
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
    arguments = ("probes", "compare", "images", "--quality", "10", "--model", "probe_models:Net")
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
    code, _, err = run("probes", "normal", "images", "--out", "p.safetensors", "-q")
    assert (code, (folder / "p.safetensors").exists()) == (1, False)
    assert "a/bad.png' cannot be decoded" in err
    code, out, _ = run("probes", "normal", "images", "--skip-bad", "--out", "p.safetensors", "-q", "--json")
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
        (["cutmix", "images", "--severity", "3", "--out", "p"], "No such option: --severity"),
        (["images", "--out", "p"], "exactly one of --severity and --quality"),
        (["images", "--severity", "3", "--quality", "9", "--out", "p"], "exactly one of --severity and --quality"),
        (["images", "--severity", "3"], "Missing option '--out'"),
        (["compare", "images"], "exactly one of --severity and --quality"),
        (["compare", "images", "--severity", "3", "--out", "p"], "No such option: --out"),
        (["compare", "images", "--severity", "3", "--mean", "0.5"], "--weights, --model-args, … go with --model"),
        (["compare", "images", "--severity", "3", "--model", "m:f", "--std", "0"], "--std: must be above 0"),
        (
            ["corrupt", "images", "--corruption", "fog", "--severity", "6", "--out", "p"],
            "--severity': Input should be less than or equal to 5",
        ),
        (["normal", "images", "--out", "p", "--loader", "dali"], "--loader dali needs --image-size"),
        # what would have no effect
        (["normal", "images", "--out", "p", "--seed", "3"], "--seed: goes with --limit or --per-class"),
        (["images", "--severity", "3", "--out", "p", "--seed", "3"], "--seed: goes with --limit or --per-class"),
        (["normal", "images", "--out", "p", "--fit", "pad"], "--fit and --resample go with --image-size"),
        (["normal", "images", "--out", "p", "--resample", "box"], "--fit and --resample go with --image-size"),
        (["normal", "images", "--out", "p", "--device", "cuda"], "--device: goes with --loader dali"),
        (
            ["images", "--severity", "3", "--engine", "pillow", "--device", "cuda", "--out", "p"],
            "--device: goes with --loader dali",
        ),
        (["normal", "images", "--out", "p", "--hdf5-layout", "NCHW"], "--hdf5-layout: goes with an HDF5 file"),
        (["normal", "probe_models.py", "--out", "p", "--labels", "folder"], "--labels: goes with a folder of images"),
        (["normal", "images", "--engine", "native", "--out", "p"], "No such option: --engine"),
        (["normal", "images", "--subsampling", "4:4:4", "--out", "p"], "No such option: --subsampling"),
    ],
)
def test_bad_usage_is_exit_code_2(folder, run, arguments, message):
    code, out, err = run("probes", *arguments)
    assert (code, out) == (2, "")
    assert message in " ".join(err.replace("Invalid value for ", "").split())


def test_failures_are_exit_code_1(folder, run):
    sac_fast.ProbeSet.from_arrays(np.zeros((2, 8, 8, 3), np.uint8)).save("arrays.safetensors")
    cases = [
        (["verify", "arrays.safetensors", "--images", "images"], "got 'arrays'"),
        (["verify", "probe_models.py", "--images", "images"], "FileFormatError"),
        (["cutmix", "images", "--limit", "1", "--out", "p"], "probes must be at least 2"),
        (["corrupt", "images", "--corruption", "rain", "--out", "p"], "corruption must be one of"),
    ]
    for arguments, message in cases:
        code, out, err = run("probes", *arguments)
        assert (code, out) == (1, ""), arguments
        assert message in err
        assert not os.path.exists("p")


def test_a_pipe_is_refused_and_not_waited_for(folder, run):
    os.mkfifo("pipe")
    code, _, err = run("probes", "normal", "pipe", "--out", "p.safetensors")
    assert (code, "must be a regular file, got a folder, a pipe or a device" in err) == (1, True)
