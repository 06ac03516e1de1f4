"""The command line as a user types it: stdout, stderr, exit codes, files."""

import dataclasses
import io
import json
import os
import subprocess
import sys

import h5py
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

import sac_fast
from sac_fast.cli import info
from sac_fast.cli import main as cli
from sac_fast.cli.render import common
from sac_fast.probes import ImageCheck, ProbeVerification
from sac_fast.verify.fingerprints import verify_fingerprints

MODELS = """
import torch
class Net(torch.nn.Module):
    def __init__(self, classes=5):
        super().__init__()
        self.layer = torch.nn.Linear(8 * 8 * 3, classes)
    def forward(self, x):
        return self.layer(x.flatten(1))
class Nan(Net):
    def forward(self, x):
        return super().forward(x) * float("nan")
class Short(Net):
    def forward(self, x):
        return super().forward(x)[:-1]
class Pair(Net):
    def forward(self, x):
        return {"logits": super().forward(x), "other": x.flatten(1)}
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with images, an importable module of models, and weights."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])
    (tmp_path / "cli_models.py").write_text(MODELS)
    (tmp_path / "images").mkdir()
    rng = np.random.default_rng(0)
    for i in range(6):
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(tmp_path / "images" / f"{i}.png")
    for i in range(7):
        torch.manual_seed(i)
        save_file({"layer.weight": torch.randn(5, 192), "layer.bias": torch.randn(5)}, f"weights{i}.safetensors")
    return tmp_path


@pytest.fixture
def made(folder, run):
    """Probes and the fingerprints of seven models: source, suspect (the same weights + noise), five nulls."""
    assert run("probes", "images", "--severity", "3", "--out", "probes.safetensors")[0] == 0
    torch.manual_seed(0)
    weights = {"layer.weight": torch.randn(5, 192), "layer.bias": torch.randn(5)}
    save_file({k: v + 1e-3 * torch.randn_like(v) for k, v in weights.items()}, "weights1.safetensors")
    (folder / "null").mkdir()
    for i in range(7):
        out = f"null/{i}.safetensors" if i > 1 else f"{i}.safetensors"
        code, _, err = run(
            *("fingerprint", "cli_models:Net", "--weights", f"weights{i}.safetensors"),
            *("--probes", "probes.safetensors", "--mean", "0.5", "--std", "0.25", "--out", out, "-q"),
        )
        assert (code, err) == (0, "")
    return folder


def test_from_images_to_a_verdict(made, run):
    code, out, _ = run("verify", "0.safetensors", "1.safetensors", "--null", "null", "--alpha", "0.2", "--json")
    result = json.loads(out)
    assert code == 0
    assert result["verdict"] == "derived"
    assert result["p_value"] == pytest.approx(1 / 6)
    assert result["attainable_p_value"] == pytest.approx(1 / 6)
    source, suspect = (sac_fast.Fingerprint.load(made / f"{i}.safetensors") for i in (0, 1))
    assert result["distance"] == pytest.approx(sac_fast.correlation_distance(source.outputs, suspect.outputs).item())
    assert sorted(result["null_distances"]) == ["2", "3", "4", "5", "6"]
    assert min(result["null_distances"].values()) > result["distance"]

    code, out, _ = run("verify", "0.safetensors", "null/2.safetensors", "--null", "1.safetensors", "--alpha", "0.5")
    assert code == 0
    assert "verdict: independent" in out or "verdict: inconclusive" in out
    # the model's weights are hashed, and the run is recorded
    assert source.model_hash == sac_fast.weights_hash(
        sac_fast.load_model("cli_models:Net", weights="weights0.safetensors")
    )
    assert source.provenance["preprocessing"]["mean"] == [0.5, 0.5, 0.5]


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
    run("probes", "images", "--normal", "--out", "other.safetensors")
    run("fingerprint", "cli_models:Net", "--probes", "other.safetensors", "--out", "x.safetensors")
    code, out, err = run("verify", "0.safetensors", "x.safetensors")
    hashes = [sac_fast.ProbeSet.load(made / name).content_hash for name in ("probes.safetensors", "other.safetensors")]
    assert (code, out) == (1, "")
    assert all(h in err for h in hashes)


def test_hdf5_probes(folder, run):
    pixels = np.random.default_rng(1).integers(0, 256, (4, 3, 8, 8), dtype=np.uint8)
    with h5py.File("probes.h5", "w") as file:
        file["data"] = np.minimum((pixels + 0.5) / 255, 1)
        file["label"] = np.arange(4)
    code, out, _ = run("probes", "probes.h5", "--normal", "--out", "p.safetensors", "--json")
    assert code == 0
    assert json.loads(out)["labelled"] is True
    np.testing.assert_array_equal(sac_fast.ProbeSet.load("p.safetensors").images, pixels.transpose(0, 2, 3, 1))


def test_output_is_chosen(made, run):
    arguments = ("fingerprint", "cli_models:Pair", "--probes", "probes.safetensors", "--out", "x.safetensors")
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
        assert text in err


def test_arguments_of_the_architecture_that_fits_a_file(made, run):
    """--model-args are those of every architecture, beside its own; the answers are the callable's."""
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
    last = stdout.buffer.getvalue().decode("ascii").splitlines()[-1]
    assert last.startswith("nulls ")
    assert " ? " in last  # of "…"


FINGERPRINT = ("fingerprint", "--probes", "cli_models.py", "--out", "f")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nonsense"], "No such command"),
        (["probes", "images", "--out", "p"], "exactly one of --severity, --quality and --normal"),
        (["probes", "images", "--out", "p", "--severity", "3", "--quality", "9"], "exactly one of"),
        (["probes", "images", "--out", "p", "--severity", "6"], "--severity"),
        (["probes", "nowhere", "--out", "p", "--severity", "3"], "does not exist"),
        (
            ["probes", "images", "--normal", "--out", "p", "--image-size", "8y8"],
            "must be N or HxW in pixels, got '8y8'",
        ),
        (["probes", "images", "--normal", "--out", "p", "--fit", "melt"], "--fit"),
        (["fingerprint", "m:f", "--probes", "cli_models.py", "--out", "f", "--model-args", "[1]"], "JSON object"),
        (["fingerprint", "m:f", "--probes", "cli_models.py", "--out", "f", "--model-args", "{"], "must be JSON"),
        (["fingerprint", "m:f", "--probes", "cli_models.py", "--out", "f", "--mean", "x"], "must be numbers"),
        (["fingerprint", "m:f", "--probes", "cli_models.py", "--out", "f", "--std", "0"], "std must be above 0"),
        (["verify", "cli_models.py", "cli_models.py", "--alpha", "1.5"], "must be between 0 and 1, got 1.5"),
        (["verify", "cli_models.py", "cli_models.py", "--metric", "euclid"], "--metric"),
        (
            ["verify", "cli_models.py", "cli_models.py", "--preset", "sac-jc", "--metric", "pearson"],
            "--metric: goes without",
        ),
        (
            ["verify", "cli_models.py", "cli_models.py", "--preset", "robust", "--comparison", "l1"],
            "--comparison: goes without",
        ),
        (["verify", "cli_models.py", "cli_models.py", "--calibration", "cli_models.py"], "got no --preset"),
        (
            [*FINGERPRINT, "weights0.safetensors", "--model-args", '{"classes": 5}'],
            "got the file 'weights0.safetensors' alone",
        ),
        (
            [*FINGERPRINT, "weights0.safetensors", "--weights", "weights0.safetensors"],
            "got the file 'weights0.safetensors'",
        ),
        (
            [*FINGERPRINT, "cli_models:Net", "--architecture", "cli_models:Net"],
            "file of weights as MODEL, got 'cli_models:Net'",
        ),
        (["probes", "images", "--normal", "--out", "p", "--resample", "nonsense"], "--resample"),
        (["demo", "--seed", "-1"], "--seed"),
        (["demo", "--seed", "99999999999999999999"], "--seed"),
        (["testbed", "train", "--out", "bed", "--seed", "99999999999999999999"], "--seed"),
    ],
)
def test_bad_usage_is_exit_code_2(folder, run, arguments, message):
    before = sorted(os.listdir())
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert message in " ".join(err.split())
    assert sorted(os.listdir()) == before


def test_failures_are_exit_code_1_and_leave_no_file(made, run):
    for name in ("empty", "bad"):
        (made / name).mkdir()
    damaged = bytearray((made / "probes.safetensors").read_bytes())
    damaged[-7] ^= 1
    (made / "damaged.safetensors").write_bytes(damaged)
    (made / "bad/truncated.png").write_bytes((made / "images/0.png").read_bytes()[:60])
    with h5py.File("no_data.h5", "w") as file:
        file["label"] = np.arange(3)
    save_file({"layer.weight": torch.zeros(4, 192), "layer.bias": torch.zeros(4)}, "small.safetensors")
    probes = ("--probes", "probes.safetensors", "--out", "new.safetensors")
    cases = [
        (["probes", "empty", "--normal", "--out", "new.safetensors"], "ProbeError", "empty"),
        (["probes", "bad", "--normal", "--out", "new.safetensors"], "ProbeError", "truncated.png"),
        (["probes", "no_data.h5", "--normal", "--out", "new.safetensors"], "ProbeError", "/data"),
        (["probes", "images", "--normal", "--out", "probes.safetensors"], "FileExistsError", "--force"),
        (["probes", "images", "--normal", "--out", "missing/new.safetensors"], "FileNotFoundError", "missing"),
        (["fingerprint", "cli_models:Net", "--weights", "small.safetensors", *probes], "ModelError", "layer.weight"),
        (["fingerprint", "cli_models:Nan", *probes], "ModelError", "got nan for probe 0"),
        (["fingerprint", "cli_models:Short", *probes], "ModelError", "6 rows"),
        (["fingerprint", "cli_models:Missing", *probes], "ModelError", "Missing"),
        (["fingerprint", "no_such_module:Net", *probes], "ModelError", "no_such_module"),
        (
            ["fingerprint", "cli_models:Net", "--probes", "damaged.safetensors", "--out", "new.safetensors"],
            "FileFormatError",
            "damaged.safetensors",
        ),
        (["probes", "images", "--normal", "--out", "bad", "--force"], "FileExistsError", "--out must name a file"),
        (["verify", "probes.safetensors", "1.safetensors"], "FileFormatError", "probes.safetensors"),
        (["verify", "0.safetensors", "1.safetensors", "--null", "empty"], "FileNotFoundError", "empty"),
    ]
    before = sorted(os.listdir())
    for arguments, error, message in cases:
        code, out, err = run(*arguments)
        last = err.strip().splitlines()[-1]
        assert (code, out) == (1, ""), arguments
        assert last.startswith(f"sac-fast: {error}: "), last
        assert message in last
        assert sorted(os.listdir()) == before, arguments


STRANGE = "good\x1b[2J\r\nverdict: independent\u202e"
PLAIN = r"good\x1b[2J\r\nverdict: independent\u202e"


def test_strangers_words_cannot_write_the_report(tmp_path, capsys):
    """Escape sequences, line breaks and reversed writing in names and in what repeats them."""
    probes = sac_fast.ProbeSet.from_arrays(np.arange(4 * 48, dtype=np.uint8).reshape(4, 4, 4, 3))
    answers = torch.randn(4, 5, generator=torch.Generator().manual_seed(0))
    names = ["mine", STRANGE, *(f"null{i}" for i in range(3))]
    made = [sac_fast.fingerprint(lambda x, i=i: answers + i * answers**2, probes, name=n) for i, n in enumerate(names)]
    result = verify_fingerprints(made[0], made[1], made[2:], metric="pearson")
    common.show_verification(dataclasses.replace(result, warnings=(f"{STRANGE}: other",)), False)
    common.show_fingerprint(made[1], tmp_path / "f.safetensors", False)
    of_recipe = ProbeVerification(
        [ImageCheck(STRANGE, False, STRANGE), ImageCheck(STRANGE, True)], [STRANGE], [STRANGE]
    )
    common.show_probe_verification(of_recipe, False)
    common.show_probes(sac_fast.ProbeSet(probes.images, None, {"kind": STRANGE}), tmp_path / "p.safetensors", False)
    lines = capsys.readouterr().out.split("\n")
    text = "\n".join(lines)
    assert not {"\x1b", "\r", "\u202e"} & set(text)
    assert sum(line.startswith("verdict:") for line in lines) == 1
    for line in (f"note: {PLAIN}: other", f"{PLAIN}: {PLAIN}", f"{PLAIN}: equal", f"selection: {PLAIN}"):
        assert line in lines
    assert sum(line.split(" ", 1)[0] in ("suspect", "name", "kind") and PLAIN in line for line in lines) == 3


@pytest.mark.parametrize("error", [ZeroDivisionError, OverflowError])
def test_arithmetic_errors_and_strangers_words_are_one_line(run, monkeypatch, error):
    def fails():
        raise error(STRANGE)

    monkeypatch.setattr(info, "installation", fails)
    expected = f"sac-fast: {error.__name__}: {PLAIN}\n"
    assert run("info") == (1, "", expected)


def test_results_and_progress_go_apart(made):
    command = [sys.executable, "-m", "sac_fast", "fingerprint", "cli_models:Net"]
    command += ["--probes", "probes.safetensors", "--out", "y.safetensors", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=made, check=True)
    assert json.loads(done.stdout)["name"] == "y"


def test_every_command_has_help(run):
    for command in ("info", "demo", "probes", "fingerprint", "verify"):
        code, out, _ = run(command, "--help")
        assert code == 0
        assert "--json" in out


def test_version(run):
    assert run("--version") == (0, f"sac-fast {sac_fast.io.version.package_version()}\n", "")


def test_errors_give_no_orders_to_the_terminal(run, monkeypatch):
    def fails():
        raise ValueError("a \x1b[2J name\n\tand its\ud800second line")

    monkeypatch.setattr(cli, "app", fails)
    code, out, err = run()
    assert (code, out) == (1, "")
    assert err == "sac-fast: ValueError: a \\x1b[2J name\\n\\tand its\\ud800second line\n"


def test_a_verdict_prints_strangers_names_without_tricks(run, tmp_path):
    outputs = torch.arange(12.0).reshape(4, 3) ** 2
    for number, name in enumerate(("\x1b[2Jmine", "theirs\ud800\u202e")):
        provenance = {"name": name, "probe_hash": "sha256:" + "0" * 64, "model_hash": None}
        sac_fast.Fingerprint(outputs + number, provenance).save(tmp_path / f"{number}.safetensors")
    code, out, err = run("verify", tmp_path / "0.safetensors", tmp_path / "1.safetensors")
    assert code == 0, err
    assert r"\x1b[2Jmine" in out
    assert r"theirs\ud800\u202e" in out
