"""Scans with real worker processes: outputs, failures with their reasons, what is known, and distances."""

import dataclasses
import datetime
import json
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from support import hostile_files, scan_models

from sac_fast import ProbeSet, correlation_distance, fingerprint
from sac_fast.cli.render.scan import ScanReport
from sac_fast.demo import architectures
from sac_fast.demo.plan import FULL
from sac_fast.models import ModelEntry, list_entries
from sac_fast.scan.jobs import ScanError, WorkerSettings, default_memory, device_list
from sac_fast.scan.pool import WorkerPool
from sac_fast.scan.progress import ScanSummary
from sac_fast.scan.run import scan_models as scan
from sac_fast.store import ModelStore, export_models

PROBES = scan_models.probes()
SETTINGS = WorkerSettings(timeout=60, memory_bytes=600 << 20, architectures=(scan_models.SPEC,))


class Kept(WorkerPool):
    """Workers that outlive a scan, since their start takes seconds."""

    submitted = 0

    def close(self):
        pass

    def submit(self, job):
        self.submitted += 1
        super().submit(job)

    def limit(self, **changes):
        self._settings = dataclasses.replace(SETTINGS, **changes)


@pytest.fixture(scope="module")
def shared_pool():
    pool = Kept(PROBES, ["cpu", "cpu"], SETTINGS)
    yield pool
    WorkerPool.close(pool)


@pytest.fixture
def pool(shared_pool):
    shared_pool.limit()
    shared_pool.submitted = 0
    return shared_pool


@pytest.fixture
def store(tmp_path):
    with ModelStore.open(tmp_path / "store", write=True, create=True) as opened:
        yield opened


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "zoo"
    made.mkdir()
    return made


def entry(folder, name, seed=0, **kwargs):
    path = folder / f"{name}.safetensors"
    scan_models.weights(path, seed)
    return ModelEntry(name, path, scan_models.SPEC, kwargs)


def run_scan(entries, store, pool, **options):
    events = {}
    summary = scan(
        entries,
        PROBES,
        store,
        workers=pool,
        on_event=lambda e: events.update({e["name"]: e}),
        **{"settings": SETTINGS, **options},
    )
    return summary, events


def test_outputs_are_those_of_the_fingerprint_and_failures_have_reasons(folder, store, pool, tmp_path):
    bad = {
        "crash": ("crashed", "SIGSEGV"),
        "exit": ("crashed", "exit code 7"),
        "exit while built": ("load-failed", "SystemExit: 3"),
        "raise": ("run-failed", r"I \x1b[31mwill not\nxxx"),
        "nan": ("not-finite", "probe 1"),
        "rows": ("wrong-shape", "6 rows"),
        "hog": ("out-of-memory", "allocate"),
        "forge": ("bad-answer", "frame"),
        "write": ("run-failed", "File too large"),
    }
    entries = [entry(folder, does, does=does, marker=str(tmp_path / "marker")) for does in bad]
    for does in ("change input", "print", "crash once"):
        entries.append(entry(folder, does, does=does, marker=str(tmp_path / does)))
    entries += [entry(folder, f"good{seed}", seed) for seed in range(4)]
    entries.append(ModelEntry("arguments", entries[0].path, scan_models.SPEC, {"does": object()}))
    entries.append(ModelEntry("no weights", entries[0].path, "torch.nn:Linear", {"in_features": 2, "out_features": 2}))
    entries.append(ModelEntry("nowhere", folder / "nowhere.safetensors", scan_models.SPEC))
    summary, events = run_scan(entries, store, pool)
    for does, (reason, words) in bad.items():
        record = store.record_for(does, PROBES.content_hash)
        assert (record.status, record.reason) == ("failed", reason), record
        assert words in record.message
        assert record.message.isprintable()
        assert len(record.message) <= 500
        assert events[does]["reason"] == reason
    assert events["arguments"]["reason"] == "bad-arguments"
    assert events["no weights"]["reason"] == "load-failed"
    assert events["nowhere"]["reason"] == "missing"
    assert os.path.getsize(tmp_path / "marker") == 0  # it may be opened, but nothing can be written
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for seed in range(4):
        expected = fingerprint(scan_models.weights(folder / "again", seed), PROBES)
        record = store.record_for(f"good{seed}", PROBES.content_hash)
        assert torch.equal(store.outputs(record), expected.outputs)
        assert record.model_hash == expected.model_hash == events[f"good{seed}"]["model_hash"]
        assert (record.n, record.k, record.format, record.dtype) == (6, 5, "safetensors", "float32")
        assert "1 thread" in record.code_version
    torch.set_num_threads(threads)
    for does in ("change input", "print", "crash once"):
        record = store.record_for(does, PROBES.content_hash)
        assert torch.equal(store.outputs(record), store.outputs(store.record_for("good0", PROBES.content_hash)))
    assert (summary.done, summary.failed, summary.known, summary.interrupted) == (7, 12, 0, None)
    assert summary.reasons["crashed"] == 2
    assert sum(summary.reasons.values()) == 12


def test_a_model_that_hangs_is_ended_and_others_go_on(folder, store, pool):
    pool.limit(timeout=1.0)
    entries = [entry(folder, "hangs", does="hang"), *(entry(folder, f"good{seed}", seed) for seed in range(3))]
    start = time.monotonic()
    summary, events = run_scan(entries, store, pool)
    assert events["hangs"]["reason"] == "timed-out"
    assert "within 1 seconds" in events["hangs"]["message"]
    assert summary.done == 3
    assert time.monotonic() - start < 30


def test_what_is_known_is_not_opened_again(folder, store, pool):
    entries = [entry(folder, f"good{seed}", seed) for seed in range(3)] + [entry(folder, "bad", does="raise")]
    run_scan(entries, store, pool)
    assert pool.submitted == 4
    summary, events = run_scan(entries, store, pool)
    assert pool.submitted == 4
    assert (summary.known, summary.known_failed, summary.done, summary.failed) == (4, 1, 0, 0)
    assert all(event["known"] for event in events.values())
    assert events["bad"]["reason"] == "run-failed"
    # a failure is tried again when asked for, and when the request is another
    summary, _ = run_scan(entries, store, pool, retry_failed=True)
    assert (pool.submitted, summary.failed) == (5, 1)
    other = [*entries[:3], dataclasses.replace(entries[3], kwargs={})]
    summary, events = run_scan(other, store, pool)
    assert (pool.submitted, summary.done) == (6, 1)
    # so is a file that changed
    before = store.record_for("good0", PROBES.content_hash)
    scan_models.weights(entries[0].path, 77)
    summary, events = run_scan(other, store, pool)
    assert (pool.submitted, summary.done, summary.known) == (7, 1, 3)
    assert store.record_for("good0", PROBES.content_hash).model_hash != before.model_hash
    # and everything under another preprocessing
    from sac_fast import Preprocessing

    run_scan(other, store, pool, settings=dataclasses.replace(SETTINGS, preprocessing=Preprocessing(mean=(0.5,))))
    assert pool.submitted == 11


def test_new_tags_of_known_models_are_stored_without_running_them(folder, store, pool):
    entries = [entry(folder, "good"), entry(folder, "bad", does="raise"), entry(folder, "same")]
    run_scan(entries, store, pool)
    before = {e.name: store.record_for(e.name) for e in entries}
    tagged = [dataclasses.replace(e, tags=("independent", e.name)) for e in entries[:2]] + entries[2:]
    summary, events = run_scan(tagged, store, pool)
    assert (pool.submitted, summary.known, summary.retagged, summary.done) == (3, 3, 2, 0)
    assert events["good"]["known"]
    for name in ("good", "bad"):
        assert store.record_for(name) == dataclasses.replace(before[name], tags=("independent", name))
    assert store.record_for("same") == before["same"]
    summary, _ = run_scan(tagged, store, pool)
    assert (summary.known, summary.retagged) == (3, 0)
    run_scan(entries, store, pool)
    assert store.record_for("good").tags == ()


def test_distances_to_sources_are_those_of_the_op(folder, store, pool):
    entries = [entry(folder, f"good{seed}", seed) for seed in range(5)]
    run_scan(entries[:2], store, pool)
    owner = fingerprint(scan_models.weights(folder / "owner.safetensors", 9), PROBES, name="owner")
    _, events = run_scan(entries, store, pool, sources=[owner, "good1", "good3"], metric="pearson")
    outputs = {e.name: store.outputs(store.record_for(e.name, PROBES.content_hash)) for e in entries}
    sources = {"owner": owner.outputs, "good1": outputs["good1"], "good3": outputs["good3"]}
    expected = {
        (source, name): correlation_distance(sources[source], outputs[name], metric="pearson").item()
        for source in sources
        for name in outputs
    }
    kept = {(row.source_name, row.name): row.distance for row in store.distances(metric="pearson", comparison="l1")}
    assert kept == pytest.approx(expected, abs=1e-6)  # what `correlation_distances` promises
    assert kept["good1", "good1"] == 0.0
    assert events["good4"]["distances"] == {source: kept[source, "good4"] for source in sources}
    # another metric later, without running anything
    submitted = pool.submitted
    run_scan(entries, store, pool, sources=[owner], comparison="rsa")
    assert pool.submitted == submitted
    rsa = {row.name: row.distance for row in store.distances(owner, comparison="rsa")}
    assert rsa == {
        name: correlation_distance(owner.outputs, outputs[name], comparison="rsa").item() for name in outputs
    }
    with pytest.raises(ScanError, match="no model of that name"):
        run_scan(entries, store, pool, sources=["nobody"])
    with pytest.raises(ValueError, match="sources must have different names, got 'owner' 2 times"):
        run_scan(entries, store, pool, sources=[owner, fingerprint(scan_models.Tiny(), PROBES, name="owner")])
    foreign = fingerprint(scan_models.Tiny(), scan_models.probes(5), name="foreign")
    with pytest.raises(ScanError, match="must be of the scan's probes"):
        run_scan(entries, store, pool, sources=[foreign])


def contents(store_folder, tmp_path, name):
    with ModelStore.open(store_folder, write=False) as opened:
        export_models(opened, tmp_path / f"{name}.csv")
    files = {p.name: p.read_bytes() for p in sorted((store_folder / "outputs").rglob("*")) if p.is_file()}
    return (tmp_path / f"{name}.csv").read_bytes(), files


def test_the_stored_bytes_do_not_depend_on_the_workers(folder, tmp_path, pool):
    entries = [entry(folder, f"good{seed}", seed) for seed in range(6)] + [entry(folder, "bad", does="crash")]
    found = []
    for name, devices in (("two", None), ("one", ["cpu"])):
        executor = pool if devices is None else WorkerPool(PROBES, devices, SETTINGS)
        with ModelStore.open(tmp_path / name, write=True, create=True) as store:
            run_scan(entries if name == "two" else entries[::-1], store, executor)
        found.append(contents(tmp_path / name, tmp_path, name))
    assert found[0] == found[1]
    assert len(found[0][1]) == 6


def test_a_worker_or_the_fork_server_that_is_killed_from_outside_costs_no_result(folder, store, pool):
    entries = [entry(folder, f"slow{seed}", seed, seconds=0.2) for seed in range(6)]
    killed = []

    class Killing:
        """Kills once in the middle of each scan."""

        def __getattr__(self, name):
            return getattr(pool, name)

        def poll(self, seconds):
            done = pool.poll(seconds)
            if done and len(killed) < 2:
                victim = next((w.pid for w in pool._workers if w.attempts and w.pid), None)
                if victim is not None:
                    victim = pool._server._process.pid if len(killed) else victim
                    os.kill(victim, signal.SIGKILL)
                    killed.append(victim)
            return done

    summary, _ = run_scan(entries, store, Killing())
    assert len(killed) == 2
    assert (summary.done, summary.failed) == (6, 0)


def test_recorded_outputs_need_no_probes(folder, store, tmp_path):
    rng = np.random.default_rng(0)
    arrays = {f"m{i}": rng.standard_normal((6, 4)).astype(np.float32) for i in range(3)}
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    scan_models.weights(folder / "weights.safetensors")
    np.save(folder / "strange.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    entries = list_entries(folder)
    summary = scan(entries, PROBES.content_hash, store, workers=1, settings=SETTINGS)
    assert (summary.done, summary.failed) == (3, 2)
    for name, array in arrays.items():
        record = store.record_for(f"{name}.npy")
        assert torch.equal(store.outputs(record), torch.from_numpy(array))
        assert (record.architecture, record.preprocessing_hash, record.format) == (None, "", "npy")
    assert store.record_for("weights.safetensors").reason == "run-failed"
    assert "needs probes" in store.record_for("weights.safetensors").message
    assert store.record_for("strange.npy").reason == "object-array"


def test_fingerprints_of_other_probes_are_failures(folder, store, pool):
    own = fingerprint(scan_models.Tiny(), PROBES, name="own")
    own.save(folder / "own")
    others = ProbeSet.from_arrays(PROBES.images[::-1])
    fingerprint(scan_models.Tiny(), others, name="foreign").save(folder / "foreign")
    np.save(folder / "plain.npy", own.outputs.numpy())
    summary = scan(list_entries(folder), PROBES, store, workers=pool, settings=SETTINGS)
    assert (summary.done, summary.reasons) == (2, {"other-probes": 1})
    message = store.record_for("foreign").message
    assert PROBES.content_hash in message
    assert others.content_hash in message


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
    assert names == FULL.architectures == ("plain", "residual", "inception")
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


def test_recorded_outputs_of_other_rows_than_the_sources_fail_alone(folder, store):
    rng = np.random.default_rng(0)
    for name, rows in (("a", 6), ("b", 6), ("short", 5), ("known", 5)):
        np.save(folder / f"{name}.npy", rng.standard_normal((rows, 4)).astype(np.float32))
    entries = list_entries(folder)
    digits = "sha256:" + "0" * 64
    summary = scan([e for e in entries if e.name == "known.npy"], digits, store, workers=1, settings=SETTINGS)
    assert summary.done == 1
    summary = scan(entries, digits, store, sources=["a.npy"], workers=1, settings=SETTINGS)
    assert (summary.done, summary.known, summary.reasons) == (2, 1, {"wrong-shape": 1})
    assert store.record_for("short.npy").message == "outputs must have 6 rows like the sources, got 5"
    assert {row.name for row in store.distances()} == {"a.npy", "b.npy"}
    with pytest.raises(ScanError, match=r"same number of probes, got \[5, 6\]"):
        scan(entries, digits, store, sources=["a.npy", "known.npy"], workers=1, settings=SETTINGS)


def test_devices_and_names_are_checked(folder, store, pool):
    assert device_list("cpu", 3) == ["cpu"] * 3
    assert len(device_list("cpu", None)) == len(os.sched_getaffinity(0))
    for device, workers in (("cpu", 0), ("tpu", None), ("cpu,cuda", None), ("cuda:99", None)):
        with pytest.raises(ValueError, match="must be"):
            device_list(device, workers)
    assert default_memory(10**6) == 1 << 30
    twice = [entry(folder, "a"), entry(folder, "a")]
    with pytest.raises(ValueError, match="different names, got 'a' 2 times"):
        run_scan(twice, store, pool)
    with pytest.raises(ValueError, match=r"entry 'nnn.*name must be a text of at most 4,096 characters, got 5,000"):
        run_scan([dataclasses.replace(twice[0], name="n" * 5000)], store, pool)
    with pytest.raises(ValueError, match=r"entry 'a': tags must have at most 32,768 characters together, got 40,000"):
        run_scan([dataclasses.replace(twice[0], tags=("t" * 40_000,))], store, pool)


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
    code, out, err = run(*arguments)
    assert code == 0, err
    assert "0 now, 2 known before" in out
    assert "empty.pth: empty:" in out


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
