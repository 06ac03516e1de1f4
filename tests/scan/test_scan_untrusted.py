"""Scans of folders from untrusted sources: architectures, names, and hostile files."""

import dataclasses
import datetime
from pathlib import Path

from support import hostile_files, scan_models
from support.scan_runs import PROBES, SETTINGS, entry, run_scan

from sac_fast.cli.render.scan import ScanReport
from sac_fast.demo import architectures
from sac_fast.demo.plan import FULL
from sac_fast.models import ModelEntry, list_entries
from sac_fast.scan.jobs import WorkerSettings
from sac_fast.scan.progress import ScanSummary
from sac_fast.scan.run import scan_models as scan


def test_architectures_named_inside_a_folder_are_not_run(folder, store, pool, tmp_path):
    scan_models.weights(folder / "w.safetensors")
    marker = tmp_path / "owned"
    (folder / "zoo.csv").write_text(
        "path,name,architecture,kwargs\n"
        f'w.safetensors,evil,os:mkdir,"{{""path"": ""{marker}""}}"\n'
        f'w.safetensors,disguised,sac_fast.demo.architectures:torch.os.mkdir,"{{""path"": ""{marker}""}}"\n'
        "w.safetensors,private,sac_fast.demo.architectures:_Branches,\n"
        "w.safetensors,demo,sac_fast.demo.architectures:plain,\n"
        "w.safetensors,mine,support.scan_models:Tiny,\n"
        "w.safetensors,found,,\n"
    )
    settings = dataclasses.replace(SETTINGS, trusted=())
    summary = scan(list_entries(folder), PROBES, store, workers=pool, settings=settings)
    assert not marker.exists()
    # The demo's own is run, and does not fit.
    assert (summary.done, summary.reasons) == (2, {"untrusted-architecture": 3, "load-failed": 1})
    assert store.record_for("found").architecture == scan_models.SPEC  # by fit


def test_a_folder_given_by_its_path_is_not_trusted_either(folder, pool, tmp_path, capsys):
    scan_models.weights(folder / "w.safetensors")
    marker = tmp_path / "owned"
    (folder / "zoo.csv").write_text(
        "path,name,architecture,kwargs\n"
        f'w.safetensors,evil,os:mkdir,"{{""path"": ""{marker}""}}"\n'
        "w.safetensors,found,,\n"
    )
    summary = scan(str(folder), PROBES, tmp_path / "new", workers=pool, settings=SETTINGS, progress=True)
    assert (summary.done, summary.reasons) == (1, {"untrusted-architecture": 1})
    assert not marker.exists()
    assert capsys.readouterr().err == ""  # no terminal: no bar, and no empty line in its place


def test_the_trusted_architectures_are_those_that_the_demo_writes():
    def refused(spec):
        return WorkerSettings(trusted=()).refusal(ModelEntry("a", "a", architecture=spec)) is not None

    module = architectures.__name__
    names = tuple(name for name in vars(architectures) if not refused(f"{module}:{name}"))
    used = {"plain", *FULL.students, *(network for network, *_ in FULL.independents)}
    assert names == ("plain", "residual", "inception")
    assert set(names) == used
    head = "sac_fast.attacks.transfer:with_head"
    for model, wrong in ((f"{module}:plain", False), ("os:system", True), ({"a": 1}, False), (head, True)):
        arguments = {"model": model, "outputs": 3, "model_args": {"model": "os:system"}}
        entry = ModelEntry("a", "a", architecture=head, kwargs=arguments)
        answer = WorkerSettings(trusted=(head,)).refusal(entry)
        assert (answer is not None) == wrong
        assert answer is None or "'os:system'" in answer.message
        assert refused(head)
    for spec in (f"{module}:plain.__init__", f"{module}:torch.os.mkdir", f" {module}:plain", f"{module}.x:plain"):
        assert refused(spec)


def test_an_entry_that_no_store_can_hold_costs_no_other_model(folder, store, pool):
    first = entry(folder, "good")
    bad = {
        "date": dataclasses.replace(first, kwargs={"a": datetime.date(2020, 1, 1)}),
        "nan": dataclasses.replace(first, kwargs={"a": float("nan")}),
        "refused date": dataclasses.replace(first, architecture="os:x", kwargs={"a": datetime.date(2020, 1, 1)}),
        "refused nan": dataclasses.replace(first, architecture="os:x", kwargs={"a": float("nan")}),
        "output": dataclasses.replace(first, output="o" * 5000),
        "arguments": dataclasses.replace(first, kwargs={"a": "a" * (1 << 20)}),
    }
    entries = [
        first,
        *(dataclasses.replace(e, name=name, tags=("t",)) for name, e in bad.items()),
        entry(folder, "last"),
    ]
    settings = dataclasses.replace(SETTINGS, trusted=())
    for known in (0, 8):
        summary = scan(entries, PROBES, store, workers=pool, settings=settings)
        assert (summary.done + summary.failed, summary.known) == (8 - known, known)
    assert {name: store.record_for(name).reason for name in bad} == {
        **dict.fromkeys(("date", "nan", "output", "arguments"), "bad-arguments"),
        **dict.fromkeys(("refused date", "refused nan"), "untrusted-architecture"),
    }
    assert all(store.record_for(name).tags == ("t",) for name in bad)
    assert store.record_for("good").status == store.record_for("last").status == "done"


def test_names_cannot_give_orders_to_the_terminal(capsys):
    report = ScanReport(as_json=False)
    report.take({"status": "failed", "name": "\x1b[2Ja\ud800", "reason": "odd", "message": "\u202eno"})
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
