"""`sac-fast store`, as a user types it."""

from __future__ import annotations

import csv
import dataclasses
import json
import re

import pytest
from support.store_models import PROBES, model, result

import sac_fast
from sac_fast.store import ModelStore

EVIL = "evil\x1b[2J\u202e[bold]=1"


@pytest.fixture
def folder(tmp_path):
    with ModelStore.open(tmp_path / "zoo", write=True, create=True) as store:
        store.add_results([result(1), result(2)])
        store.add_failure(model(3, name=EVIL), "pickle", "refused:\n\x1b]0;title\x07")
        source = store.fingerprint(store.record_for("model-0001"))
        store.add_distances(source, "cosine", "l1", [(model(2).key, 0.125)])
    return tmp_path / "zoo"


def test_ls(folder, run):
    code, out, _ = run("store", "ls", folder)
    assert code == 0
    assert "model-0001" in out
    assert "6 × 3" in out
    assert "3 models: 2 done, 1 failed" in out
    assert "evil\\x1b[2J\\u202e[bold]=1" in out  # what a terminal would obey is shown, and rich's markup is none
    assert not set(out) & {"\x1b", "\x07", "\u202e"}
    _, out, _ = run("store", "ls", folder, "--json", "--status", "failed", "--probe-hash", PROBES[7:11])
    (found,) = json.loads(out)["models"]
    assert (found["name"], found["reason"]) == (EVIL, "pickle")
    code, _, err = run("store", "ls", folder, "--probe-hash", "f00f00")
    assert (code, "f00f00" in err) == (1, True)


def test_show(folder, run):
    code, out, _ = run("store", "show", folder, "model-0002")
    assert code == 0
    assert "0.125" in out
    _, out, _ = run("store", "show", folder, "model-0002", "--json")
    found = json.loads(out)
    assert found["models"][0]["model_hash"] == model(2).model_hash
    assert found["distances"][0]["distance"] == 0.125
    assert found["models"][0]["file_sha256"] is None
    assert "url" not in found["models"][0]
    _, out, _ = run("store", "show", folder, "model-0002")
    assert re.search(r"file sha256 +not recorded", out)
    _, out, _ = run("store", "show", folder, EVIL)
    assert "file sha256" not in out  # of a file that was refused
    known = dataclasses.replace(
        model(2), path=f"models--a--b/snapshots/{'7' * 40}/x.pth", file_sha256="sha256:" + "8" * 64
    )
    with ModelStore.open(folder, write=True) as store:
        store.add_results([(known.key, known, result(2)[2])])
    out = " ".join(run("store", "show", folder, "model-0002")[1].split())
    for text in ("sha256:" + "8" * 64, "url https://huggingface.co/a/b", "revision " + "7" * 40):
        assert text in out
    assert run("store", "show", folder, "none")[0] == 2


def test_rm(folder, run):
    assert run("store", "rm", folder)[0] == 2
    assert run("store", "rm", folder, "model-0001", "none")[0] == 2  # and then nothing goes
    _, out, _ = run("store", "rm", folder, "model-0001", EVIL, "model-0001", "--json")
    assert json.loads(out) == {"schema": "sac_fast.store.rm/1", "removed": 2, "unused_results_removed": 0}
    assert [row["name"] for row in json.loads(run("store", "ls", folder, "--json")[1])["models"]] == ["model-0002"]
    with ModelStore.open(folder, write=True) as store:
        changed = dataclasses.replace(model(2), code_version="2")
        store.add_results([(changed.key, changed, result(2)[2])])
    assert json.loads(run("store", "rm", folder, "--unused", "--json")[1])["unused_results_removed"] == 1


def test_export(folder, run, tmp_path):
    assert json.loads(run("store", "export", folder, tmp_path / "t.csv", "--json")[1])["rows"] == 3
    rows = list(csv.DictReader((tmp_path / "t.csv").read_text().splitlines()))
    assert [row["status"] for row in rows] == ["failed", "done", "done"]
    assert run("store", "export", folder, tmp_path / "t.csv")[0] == 1
    assert run("store", "export", folder, tmp_path / "t.csv", "--force", "--times")[0] == 0
    assert "seconds" in (tmp_path / "t.csv").read_text().splitlines()[0]
    assert run("store", "export", folder, tmp_path / "d.parquet", "--distances")[0] == 0
    assert run("store", "export", folder, tmp_path / "m.safetensors", "--name", "model-0002")[0] == 0
    fingerprint = sac_fast.Fingerprint.load(tmp_path / "m.safetensors")
    assert (fingerprint.name, fingerprint.outputs.tolist()) == ("model-0002", result(2)[2].tolist())
    for wrong in (["x.xlsx"], ["x.csv", "--name", "model-0002"], ["x.safetensors"], ["x.csv", "--probe-hash", "a"]):
        assert run("store", "export", folder, *wrong)[0] == 2


def test_export_of_a_model_under_two_probe_sets_wants_one_of_them_named(folder, run, tmp_path):
    other = model(2, probe_hash="sha256:" + "a" * 64)
    with ModelStore.open(folder, write=True) as store:
        store.add_results([(other.key, other, result(2)[2] + 1)])
    wanted = ("store", "export", folder, tmp_path / "m.safetensors", "--name", "model-0002")
    code, _, err = run(*wanted)
    assert code == 2
    words = "".join(err.replace("│", " ").split())
    assert "--probe-hash" in words
    assert PROBES in words
    assert other.probe_hash in words
    assert not (tmp_path / "m.safetensors").exists()
    assert run(*wanted, "--probe-hash", "aaaa")[0] == 0
    assert sac_fast.Fingerprint.load(tmp_path / "m.safetensors").probe_hash == other.probe_hash


def test_check(folder, run):
    assert run("store", "check", folder, "-q")[:2] == (0, "2 results, all as they were written\n")
    (path,) = (folder / "segments").iterdir()
    path.write_bytes(path.read_bytes()[:100])
    code, out, _ = run("store", "check", folder, "--json")
    assert (code, json.loads(out)["findings"][0]["kind"]) == (5, "damaged")
    code, out, _ = run("store", "check", folder, "--repair", "-q")
    assert (code, "all repaired" in out) == (0, True)
    assert run("store", "check", folder, "-q")[0] == 0
    assert run("store", "ls", folder.parent)[0] == 1  # a folder that is no store
