"""Failures on the command line: exit codes, one line on stderr, no file left, no orders to the terminal."""

import dataclasses
import os
import sys

import h5py
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import sac_fast
from sac_fast.cli import info
from sac_fast.cli import main as cli
from sac_fast.cli.render import common
from sac_fast.cli.render.verify import show_verdicts
from sac_fast.probes import ImageCheck, ProbeVerification
from sac_fast.verify.grounds import verify_suspects

FINGERPRINT = ("fingerprint", "--probes", "cli_models.py", "--out", "f")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nonsense"], "No such command"),
        (["probes", "images", "--out", "p"], "exactly one of --severity and --quality"),
        (["probes", "images", "--out", "p", "--severity", "3", "--quality", "9"], "exactly one of"),
        (["probes", "images", "--out", "p", "--severity", "6"], "--severity"),
        (["probes", "nowhere", "--out", "p", "--severity", "3"], "does not exist"),
        (
            ["probes", "normal", "images", "--out", "p", "--image-size", "8y8"],
            "must be N or HxW in pixels, from 1 to 65535, got '8y8'",
        ),
        (["probes", "normal", "images", "--out", "p", "--fit", "melt"], "--fit"),
        (["fingerprint", "m:f", "--probes", "cli_models.py", "--out", "f", "--model-args", "[1]"], "JSON object"),
        (["fingerprint", "m:f", "--probes", "cli_models.py", "--out", "f", "--model-args", "{"], "must be JSON"),
        (["fingerprint", "m:f", "--probes", "cli_models.py", "--out", "f", "--kind", "x"], "must be one of same-"),
        (["fingerprint", "m:f", "--probes", "cli_models.py", "--out", "f", "--mean", "x"], "must be numbers"),
        (["fingerprint", "m:f", "--probes", "cli_models.py", "--out", "f", "--std", "0"], "--std: must be above 0"),
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
        (["probes", "normal", "images", "--out", "p", "--resample", "nonsense"], "--resample"),
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
        (["probes", "normal", "empty", "--out", "new.safetensors"], "ProbeError", "empty"),
        (["probes", "normal", "bad", "--out", "new.safetensors"], "ProbeError", "truncated.png"),
        (["probes", "normal", "no_data.h5", "--out", "new.safetensors"], "ProbeError", "/data"),
        (["probes", "normal", "images", "--out", "probes.safetensors"], "FileExistsError", "--force"),
        (["probes", "normal", "images", "--out", "missing/new.safetensors"], "FileNotFoundError", "missing"),
        (["fingerprint", "cli_models:Net", "--weights", "small.safetensors", *probes], "ModelError", "layer.weight"),
        (["fingerprint", "cli_models:Nan", "--random-weights", *probes], "ModelError", "got nan for probe 0"),
        (["fingerprint", "cli_models:Short", "--random-weights", *probes], "ModelError", "6 rows"),
        (["fingerprint", "cli_models:Missing", *probes], "ModelError", "Missing"),
        (["fingerprint", "no_such_module:Net", *probes], "ModelError", "no_such_module"),
        (
            ["fingerprint", "cli_models:Net", "--probes", "damaged.safetensors", "--out", "new.safetensors"],
            "FileFormatError",
            "damaged.safetensors",
        ),
        (["probes", "normal", "images", "--out", "bad", "--force"], "FileExistsError", "--out must name a file"),
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


STRANGE = "good\x1b[2J\r\nverdict: not distinguished\u202e"
PLAIN = r"good\x1b[2J\r\nverdict: not distinguished\u202e"


def test_untrusted_text_cannot_write_the_report(tmp_path, capsys):
    """Escape sequences, line breaks and reversed writing in names and in what repeats them."""
    probes = sac_fast.ProbeSet.from_arrays(np.arange(4 * 48, dtype=np.uint8).reshape(4, 4, 4, 3))
    outputs = torch.randn(4, 5, generator=torch.Generator().manual_seed(0))
    names = ["mine", STRANGE, *(f"null{i}" for i in range(3))]
    answers = [outputs + i * outputs**2 for i in range(len(names))]
    made = [
        sac_fast.fingerprint(lambda x, y=y: y[: len(x)], probes, name=n) for y, n in zip(answers, names, strict=True)
    ]
    result = verify_suspects(made[0], made[1:2], nulls=made[2:], score="distance", metric="pearson")
    show_verdicts(dataclasses.replace(result, warnings=(f"{STRANGE}: other",)), False)
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
def test_arithmetic_errors_and_untrusted_text_are_one_line(run, monkeypatch, error):
    def fails():
        raise error(STRANGE)

    monkeypatch.setattr(info, "installation", fails)
    expected = f"sac-fast: {error.__name__}: {PLAIN}\n"
    assert run("info") == (1, "", expected)


def test_errors_give_no_orders_to_the_terminal(run, monkeypatch):
    def fails():
        raise ValueError("a \x1b[2J name\n\tand its\ud800second line")

    monkeypatch.setattr(cli, "make_app", lambda names: fails)
    code, out, err = run()
    assert (code, out) == (1, "")
    assert err == "sac-fast: ValueError: a \\x1b[2J name\\n\\tand its\\ud800second line\n"


def test_a_verdict_prints_untrusted_names_escaped(run, tmp_path):
    outputs = torch.arange(12.0).reshape(4, 3) ** 2
    for number, name in enumerate(("\x1b[2Jmine", "theirs\ud800\u202e")):
        provenance = {"name": name, "probe_hash": "sha256:" + "0" * 64, "model_hash": None}
        sac_fast.Fingerprint(outputs + number, provenance).save(tmp_path / f"{number}.safetensors")
    code, out, err = run("verify", tmp_path / "0.safetensors", tmp_path / "1.safetensors")
    assert code == 0, err
    assert r"\x1b[2Jmine" in out
    assert r"theirs\ud800\u202e" in out


def test_names_of_what_is_written_are_printed_escaped(made, run):
    name = "\x1b[31m\nx"
    code, out, err = run("verify", "0.safetensors", "1.safetensors", "--null", "null", "--report", name)
    assert (code, "\x1b" in out + err) == (0, False)
    assert "report: \\x1b[31m\\nx/report.json, " in err
    code, out, err = run("audit", f"{name}.toml", "--init", "--source-model", "m.onnx", "--probe-images", "images")
    assert (code, "\x1b" in out + err) == (0, False)
    assert out.startswith("\\x1b[31m\\nx.toml: look at it, then type: sac-fast audit ")


LONG = "a" * 2500 + "\x1b" + "z" * 2500
SHORT = "a" * 500 + "…" + "z" * 499


def test_an_error_repeats_no_long_value_whole(run, monkeypatch):
    def fails():
        raise ValueError(LONG)

    monkeypatch.setattr(info, "installation", fails)
    assert run("info") == (1, "", f"sac-fast: ValueError: {SHORT}\n")


@pytest.mark.parametrize(
    "arguments",
    [
        (LONG,),
        ("info", LONG),
        ("info", f"--{LONG}"),
        ("bench", LONG),
        ("testbed", LONG),
        ("siblings", "draw", LONG),
        ("verify", LONG, "x"),
        ("scan", "x", "--probes", LONG),
        ("weights", LONG, "a"),
    ],
    ids=lambda arguments: " ".join(arguments).replace(LONG, "LONG"),
)
def test_wrong_usage_repeats_no_long_value_whole(run, arguments):
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    last = err.splitlines()[-1]
    assert last.startswith("Error: ")
    assert "aaaa…zzzz" in last
    assert len(last) < 1100


@pytest.mark.parametrize(
    "arguments",
    [
        ("probes", "jpeg", "p.safetensors", "--severity", "3", "--out", "p.safetensors"),
        ("fingerprint", "outputs.npy", "--probes", "p.safetensors", "--out", "p.safetensors"),
        ("fingerprint", "outputs.npy", "--probes", "p.safetensors", "--out=sub/../outputs.npy"),
        ("pack", "make", "same-data=f.safetensors", "--probes", "p.safetensors", "--probes-at", "x", "--out", "link"),
    ],
    ids=lambda arguments: " ".join(arguments),
)
def test_force_replaces_nothing_that_is_read(run, tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    probes = sac_fast.ProbeSet.from_arrays(np.zeros((4, 8, 8, 3), np.uint8))
    probes.save("p.safetensors")
    np.save("outputs.npy", np.eye(4, 3, dtype=np.float32))
    sac_fast.Fingerprint(torch.eye(4), {"name": "f", "probe_hash": probes.content_hash}).save("f.safetensors")
    os.mkdir("sub")
    os.symlink("f.safetensors", "link")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    code, out, err = run(*arguments, "--force")
    assert (code, out) == (1, "")
    assert "--out must name no file that another argument names" in err
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before


def test_what_is_read_is_known_without_the_command_line(tmp_path, monkeypatch):
    """A caller of the application, or a file of options, leaves `sys.argv` as it is."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["other"])
    np.savez("inputs.npz", x=np.eye(4, dtype=np.float32))
    before = (tmp_path / "inputs.npz").read_bytes()
    command = ["probes", "import", "inputs.npz", "--out", "inputs.npz", "--force"]
    with pytest.raises(FileExistsError, match="--out must name no file that another argument names"):
        cli.make_app(["probes"])(command, standalone_mode=False)
    assert (tmp_path / "inputs.npz").read_bytes() == before
    command[-2] = "other.npz"  # nothing of the last call is left
    cli.make_app(["probes"])(command, standalone_mode=False)
    assert (tmp_path / "other.npz").exists()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["fingerprint", "", "--probes", "p", "--out", "f"], "MODEL"),
        (["fingerprint", "m.npy", "--probes", "p", "--out", ""], "--out"),
        (["scan", "models", "--probes", "p", "--store="], "--store"),
        (["scan", "", "--probes", "p", "--store", "s"], "SOURCE"),
        (["siblings", "make", "--from", "", "--out", "s"], "--from"),
        (["verify", "a", "", "--null", "b"], "SUSPECT"),
        (["verify", "a", "b", "--null", "c", "--null", ""], "--null"),
        (["store", "ls", ""], "STORE"),
        (["testbed", "show", ""], "ZOO"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else value,
)
def test_an_empty_path_is_not_the_current_folder(run, tmp_path, monkeypatch, arguments, named):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert err.splitlines()[-1] == f"Error: Invalid value for {named}: must not be empty"
    assert not list(tmp_path.iterdir())


def test_an_empty_path_after_a_kind_is_refused(run, made):
    code, out, err = run("verify", "0.safetensors", "1.safetensors", "--null", "same-data=")
    assert (code, out) == (2, "")
    assert err.splitlines()[-1] == "Error: Invalid value for --null: must name a path, got 'same-data='"


def test_a_link_that_leads_nowhere_is_not_replaced_unasked(run, made):
    os.symlink("nowhere", "out.safetensors")
    arguments = ("fingerprint", "0.safetensors", "--probes", "probes.safetensors", "--out", "out.safetensors")
    code, out, err = run(*arguments)
    assert (code, out) == (1, "")
    assert "--out must not exist yet" in err
    assert os.path.islink("out.safetensors")
