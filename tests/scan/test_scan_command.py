"""The command `sac-fast scan`."""

import contextlib
import hashlib
import json
import sqlite3

import pytest
from support import scan_models
from support.scan_runs import PROBES


def test_the_command_prints_lines_and_goes_on(folder, tmp_path, run):
    for seed in range(2):
        scan_models.weights(folder / f"m{seed}.safetensors", seed)
    (folder / "empty.pth").write_bytes(b"")
    PROBES.save(tmp_path / "probes")
    arguments = ("scan", folder, "--probes", tmp_path / "probes", "--store", tmp_path / "s", "--workers", 1)
    arguments += ("--architecture", scan_models.SPEC, "--quiet")
    code, out, err = run(*arguments, "--json", "--source", "m0.safetensors")
    assert code == 0, err
    *models, summary = map(json.loads, out.splitlines())
    assert {model["name"]: model["status"] for model in models} == {
        "empty.pth": "failed",
        "m0.safetensors": "done",
        "m1.safetensors": "done",
    }
    assert summary["event"] == "summary"
    assert (summary["done"], summary["failed"], summary["known"]) == (2, 1, 0)
    assert summary["reasons"] == {"empty": 1}
    code, out, err = run(*arguments, "--sketch-weights")
    assert code == 0, err
    assert "no sketch of empty.pth: " in err
    with contextlib.closing(sqlite3.connect(tmp_path / "s" / "weights.sqlite")) as kept:
        names = [row[0].rsplit("/")[-1] for row in kept.execute("SELECT path FROM sketches ORDER BY path")]
    assert names == ["m0.safetensors", "m1.safetensors"]
    assert "0 now, 2 known before" in out
    assert "empty.pth: empty:" in out
    _, out, _ = run("store", "ls", tmp_path / "s", "--json")
    plain = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}
    found = {model["name"]: model["file_sha256"] for model in json.loads(out)["models"]}
    assert found == {**{name: "sha256:" + digits for name, digits in plain.items()}, "empty.pth": None}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), "either --probes or --probe-hash"),
        (("--probe-hash", "md5:12"), "64 digits"),
        (("--probe-hash", "sha256:" + "0" * 64, "--device", "tpu"), "device must be"),
        (("--probe-hash", "sha256:" + "0" * 64, "--size", "big"), "N or HxW"),
        (("--probe-hash", "sha256:" + "0" * 64, "--memory", "inf"), "less than or equal to 1000000000"),
        (("--probe-hash", "sha256:" + "0" * 64, "--timeout", "nan"), "less than or equal to 1000000000"),
    ],
)
def test_the_command_refuses_nonsense(folder, tmp_path, run, options, words):
    code, _, err = run("scan", folder, "--store", tmp_path / "s", *options)
    assert code == 2
    assert words in " ".join(err.replace("│", " ").split())
    assert not (tmp_path / "s").exists()
