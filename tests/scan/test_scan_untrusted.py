"""Scans of folders from untrusted sources: architectures, names, and hostile files."""

import dataclasses
import datetime
from pathlib import Path

import pytest
import torch
from support import hostile_files, scan_models
from support.scan_runs import PROBES, SETTINGS, entry, run_scan

from sac_fast.cli.render.scan import ScanReport
from sac_fast.demo import architectures
from sac_fast.demo.plan import FULL
from sac_fast.models import ModelEntry, Preprocessing, list_entries, save_weights
from sac_fast.scan.jobs import WorkerSettings
from sac_fast.scan.progress import ScanSummary
from sac_fast.scan.run import scan_models as scan
from sac_fast.store import ModelStore


def test_architectures_named_inside_a_folder_are_not_run(folder, store, pool, tmp_path):
    marker = tmp_path / "owned"
    rows = {
        "evil": ("os:mkdir", {"path": str(marker)}),
        "disguised": ("sac_fast.demo.architectures:torch.os.mkdir", {"path": str(marker)}),
        "private": ("sac_fast.demo.architectures:_Branches", {}),
        "mine": (scan_models.SPEC, {"does": "exit while built"}),
    }
    for name in rows:
        save_weights(folder / f"{name}.safetensors", torch.nn.Linear(2, 3))  # fit no architecture of the user's
    models = "".join(
        f'[[models]]\npath = "{name}.safetensors"\narchitecture = "{spec}"\nkwargs = {{ '
        + ", ".join(f'{key} = "{value}"' for key, value in kwargs.items())
        + " }\n"
        for name, (spec, kwargs) in rows.items()
    )
    (folder / "zoo.toml").write_text(models)
    summary = scan(str(folder), PROBES, store, workers=pool, settings=SETTINGS)
    assert summary.reasons == {"untrusted-architecture": 4}
    for name, (spec, _) in rows.items():
        message = store.record_for(f"{name}.safetensors").message
        assert f"a manifest inside the folder names {spec!r}, whose code would be run" in message
    assert not marker.exists()


@pytest.mark.parametrize("given", ["folder", "entries"])
def test_claims_change_nothing_where_the_user_named_an_architecture(folder, pool, tmp_path, capsys, given):
    """Trust is the pair of a callable and its arguments; what the user named is fitted, whatever is claimed."""
    scan_models.weights(folder / "w.safetensors")
    (folder / "zoo.csv").write_text(
        "path,name,architecture,kwargs,output,tags,preprocessing\n"
        f'w.safetensors,other,{scan_models.SPEC},"{{""does"": ""exit""}}",7,independent,"{{""std"": [0.5]}}"\n'
    )
    models = str(folder) if given == "folder" else list_entries(folder)
    events = []
    with ModelStore.open(tmp_path / "new", write=True, create=True) as store:
        summary = scan(models, PROBES, store, workers=pool, settings=SETTINGS, progress=True, on_event=events.append)
        record = store.record_for("w.safetensors")
    assert (summary.done, summary.failed, summary.claimed) == (1, 0, 1)
    assert (record.kwargs, record.output, record.tags) == ({}, None, ())
    assert record.preprocessing == SETTINGS.preprocessing.to_dict()
    claims = {
        "name": "other", "architecture": scan_models.SPEC, "kwargs": {"does": "exit"}, "output": 7,
        "tags": ["independent"], "preprocessing": Preprocessing(std=(0.5,)).to_dict(),
    }  # fmt: skip
    assert {"event": "claim", "name": "w.safetensors", "claims": claims} in events
    assert capsys.readouterr().err == ""  # no terminal: no bar, and no empty line in its place


def test_the_architectures_that_may_be_claimed_are_those_that_the_demo_writes():
    def taken(spec, **kwargs):
        claims = {"architecture": spec, "kwargs": kwargs}
        entry = WorkerSettings(**settings).believe(ModelEntry("a", "a", claims=claims))
        assert entry.kwargs == (kwargs if entry.architecture else {})
        return entry.architecture == spec

    settings = {}
    module = architectures.__name__
    names = tuple(name for name in vars(architectures) if taken(f"{module}:{name}", classes=3))
    used = {"plain", *FULL.students, *(network for network, *_ in FULL.independents)}
    assert names == ("plain", "residual", "inception")
    assert set(names) == used
    for spec in (f"{module}:plain.__init__", f"{module}:torch.os.mkdir", f" {module}:plain", f"{module}.x:plain"):
        assert not taken(spec)
    head = "sac_fast.attacks.transfer:with_head"
    assert not taken(head, model=f"{module}:plain")
    # What the user has named is fitted instead.
    settings = {"architectures": (head, f"{module}:plain")}
    assert not taken(head, model="os:system")
    assert not taken(f"{module}:plain", classes=3)


def test_an_entry_that_no_store_can_hold_costs_no_other_model(folder, store, pool):
    first = entry(folder, "good")
    bad = {
        "date": dataclasses.replace(first, kwargs={"a": datetime.date(2020, 1, 1)}),
        "nan": dataclasses.replace(first, kwargs={"a": float("nan")}),
        "output": dataclasses.replace(first, output="o" * 5000),
        "arguments": dataclasses.replace(first, kwargs={"a": "a" * (1 << 20)}),
    }
    entries = [
        first,
        *(dataclasses.replace(e, name=name, tags=("t",)) for name, e in bad.items()),
        entry(folder, "last"),
    ]
    for known in (0, 6):
        summary = scan(entries, PROBES, store, workers=pool, settings=SETTINGS)
        assert (summary.done + summary.failed, summary.known) == (6 - known, known)
    reasons = {**dict.fromkeys(bad, "bad-arguments"), "output": "run-failed"}
    assert {name: store.record_for(name).reason for name in bad} == reasons
    assert all(store.record_for(name).tags == ("t",) for name in bad)
    assert store.record_for("good").status == store.record_for("last").status == "done"


def test_names_cannot_give_orders_to_the_terminal(capsys):
    report = ScanReport(as_json=False)
    report.take(
        {"event": "model", "status": "failed", "name": "\x1b[2Ja\ud800", "reason": "odd", "message": "\u202eno"}
    )
    report.finish(ScanSummary(1, failed=1, retagged=2, reasons={"\x1b]0;": 1}), Path("s\x1b[1m"))
    out = capsys.readouterr().out
    assert "\\x1b[2Ja\\ud800: odd: \\u202eno" in out
    assert "\\x1b]0; 1" in out
    assert "s\\x1b[1m" in out
    assert "of 2 known changed" in out
    assert not set("\x1b\ud800\u202e") & set(out)


def test_a_folder_of_hostile_files_beside_good_models(folder, store, pool):
    reasons = hostile_files.make_hostile_folder(folder)
    for seed in range(3):
        scan_models.weights(folder / f"good{seed}.safetensors", seed)
    summary, events = run_scan(list_entries(folder), store, pool)
    assert {name: event["reason"] for name, event in events.items() if event["status"] == "failed"} == reasons
    for name, reason in reasons.items():
        record = store.record_for(name, PROBES.content_hash)
        assert (record.status, record.reason) == ("failed", reason)
        assert record.message.isprintable()
    assert not hostile_files.marker(folder).exists()
    assert (summary.done, summary.failed) == (3, len(reasons))
    assert all(events[f"good{seed}.safetensors"]["status"] == "done" for seed in range(3))
