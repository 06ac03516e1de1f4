"""`sac-fast pack`, and the commands that take packs."""

import json
import os
import pathlib

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import sac_fast
from sac_fast.audit.plan import plan_case
from sac_fast.cli.main import app
from sac_fast.packs.pack import pack_of, read_pack

N, K = 60, 4


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Probes, a source, a copy, 19 independents of one kind."""
    monkeypatch.chdir(tmp_path)
    pixels = np.random.default_rng(0).integers(0, 256, (N, 4, 4, 3), dtype=np.uint8)
    probes = sac_fast.ProbeSet.from_arrays(pixels)
    probes.save("p.safetensors")
    generator = torch.Generator().manual_seed(0)
    task = torch.randn(N, K, generator=generator)
    pathlib.Path("nulls").mkdir()
    for i in range(20):
        outputs = task + torch.randn(N, K, generator=generator)
        made = sac_fast.Fingerprint(outputs, {"name": f"model {i}", "probe_hash": probes.content_hash})
        made.save("mine.safetensors" if i == 0 else f"nulls/{i:02}.safetensors")
    copy = sac_fast.Fingerprint(2 * sac_fast.Fingerprint.load("mine.safetensors").outputs, made.provenance)
    sac_fast.Fingerprint(copy.outputs, {**copy.provenance, "name": "copy"}).save("copy.safetensors")
    return tmp_path


@pytest.fixture(autouse=True)
def no_worker(monkeypatch):
    """The worker has tests of its own, and takes a second to start."""

    def read(content, name, hash, timeout):
        with os.fdopen(os.dup(content), "rb") as handle:
            arrays, about = read_pack(handle, name)
        return pack_of(about, [torch.from_numpy(arrays[str(i)]) for i in range(len(arrays))], name, hash)

    monkeypatch.setattr("sac_fast.packs.opened._read_in_worker", read)


def run(*arguments, code=0):
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == code, result.output
    return result


def made(*more):
    result = run(
        *("pack", "make", "same-data=nulls", "--probes", "p.safetensors", "--probes-at", "https://example.org/p"),
        *("--out", "nulls.pack", "--json", *more),
    )
    return json.loads(result.stdout)


def test_a_pack_is_made_checked_and_judged_with(folder):
    found = made()
    assert (found["schema"], found["independents"]) == ("sac_fast.pack.make/1", {"same-data": 19})
    run("pack", "make", "nulls", "--probes", "p.safetensors", "--probes-at", "x", "--out", "nulls.pack", code=1)
    hash = found["hash"]
    shown = run("pack", "check", "nulls.pack", "--hash", hash, "--probes", "p.safetensors").stdout
    assert "https://example.org/p" in shown
    assert json.loads(run("show", "nulls.pack", "--json").stdout)["what"] == "pack"
    options = ("verify", "mine.safetensors", "copy.safetensors", "--kind", "same-data", "--json")
    own = json.loads(run(*options, "--null", "same-data=nulls").stdout)
    verdicts = json.loads(run(*options, "--pack", "nulls.pack", "--pack-hash", hash).stdout)
    assert (verdicts["p_value"], verdicts["verdict"]) == (own["p_value"], own["verdict"])
    assert verdicts["verdict"] == {"copy": "derived"}
    assert hash in verdicts["conditions"][-1]


def test_suspects_are_files_folders_and_patterns(folder):
    options = ("--null", "nulls", "--alpha", "0.1", "--json")

    def judged(*suspects):
        return set(json.loads(run("verify", "mine.safetensors", *suspects, *options).stdout)["verdict"])

    pathlib.Path("theirs").mkdir()
    for i in range(3):
        fp = sac_fast.Fingerprint.load("copy.safetensors")
        outputs = fp.outputs + torch.randn(N, K, generator=torch.Generator().manual_seed(i))
        sac_fast.Fingerprint(outputs, {**fp.provenance, "name": f"their {i}"}).save(f"theirs/{i}.safetensors")
    assert judged("theirs") == {"their 0", "their 1", "their 2"}
    assert judged("theirs/[01].*", "copy.safetensors") == {"their 0", "their 1", "copy"}
    assert "got nothing at" in run("verify", "mine.safetensors", "theirs/9*", *options, code=2).output


def test_a_report_on_a_verdict_from_a_pack_is_sound(folder):
    hash = made()["hash"]
    run(
        *("verify", "mine.safetensors", "copy.safetensors", "--kind", "same-data", "--pack", "nulls.pack"),
        *("--pack-hash", hash, "--report", "report"),
    )
    run("report", "check", "report")
    assert f"older than the pack {hash}" in pathlib.Path("report/report.html").read_text()


def test_a_pack_needs_its_hash(folder):
    hash = made()["hash"]
    options = ("verify", "mine.safetensors", "copy.safetensors", "--pack", "nulls.pack")
    for more in ((), ("--pack-hash", "abc"), ("--pack-hash", hash, "--pack-hash", hash)):
        assert "--pack-hash" in run(*options, *more, code=2).output
    run("pack", "check", "nulls.pack", code=2)
    result = CliRunner().invoke(app, ["pack", "check", "nulls.pack", "--hash", "sha256:" + "0" * 64])
    assert "must have the hash" in str(result.exception)
    result = CliRunner().invoke(app, ["pack", "pull", "http://example.org/p", "--hash", hash, "--out", "new"])
    assert "https://" in str(result.exception)
    run("pack", "pull", "nulls.pack", "--hash", hash, "--out", "new", code=2)


def test_a_case_takes_packs(folder, monkeypatch):
    hash = made()["hash"]
    text = """
kinds = ["same-data"]
source = { path = "mine.safetensors" }
probes = { images = "p.safetensors" }
suspects = [ { path = "copy.safetensors" } ]
packs = [ { at = "%s", hash = "%s" } ]
"""
    pathlib.Path("case.toml").write_text(text % ("nulls.pack", hash))
    found = sac_fast.run_audit("case.toml", stage="verdicts", progress=False)
    assert found["verdict"] == {"copy.safetensors": "derived"}
    assert hash in found["tests"][0]["verdicts"]["conditions"][-1]
    assert sac_fast.run_audit("case.toml", stage="commit", progress=False)["protocol_hash"] == found["protocol_hash"]
    pathlib.Path("web.toml").write_text(text % ("https://packs.example.org/nulls.pack", hash))
    assert plan_case("web.toml")["hosts"] == {"https://packs.example.org:443": []}

    def connect(*_):
        raise ConnectionRefusedError("no network here")

    monkeypatch.setattr("sac_fast.packs.pull.connect_checked", connect)
    with pytest.raises(sac_fast.ModelError, match="no network here"):
        sac_fast.run_audit("web.toml", stage="commit", progress=False)
    pathlib.Path("web-audit/packs").mkdir(exist_ok=True)
    content = pathlib.Path("nulls.pack").read_bytes()
    pathlib.Path(f"web-audit/packs/{hash[7:]}.safetensors").write_bytes(content)  # what was fetched before
    assert sac_fast.run_audit("web.toml", stage="verdicts", progress=False)["p_value"] == found["p_value"]
    for wrong in ("hash = 'x'", "at = 3", "at = 'x'"):
        pathlib.Path("bad.toml").write_text(text.replace('at = "%s", hash = "%s"', wrong))
        with pytest.raises(sac_fast.FileFormatError, match="packs"):
            sac_fast.run_audit("bad.toml", stage="commit", progress=False)
