"""Scans with real worker processes: outputs, failures with their reasons, what is known, and distances."""

import dataclasses
import os
import signal
import time

import pytest
import torch
from support import scan_models
from support.scan_runs import PROBES, SETTINGS, entry, run_scan
from support.store_folders import blobs

from sac_fast import correlation_distance, fingerprint
from sac_fast.models import ModelEntry
from sac_fast.scan.arguments import device_list
from sac_fast.scan.budgets import default_memory
from sac_fast.scan.jobs import ScanError
from sac_fast.scan.pool import WorkerPool
from sac_fast.store import ModelStore, export_models


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
    harmless = ("change input", "print", "crash once", "ask for folders", "need gc")
    for does in harmless:
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
        assert len(record.message) <= 2000
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
    for does in harmless:
        record = store.record_for(does, PROBES.content_hash)
        assert torch.equal(store.outputs(record), store.outputs(store.record_for("good0", PROBES.content_hash)))
    assert (summary.done, summary.failed, summary.known, summary.interrupted) == (9, 12, 0, None)
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
    return (tmp_path / f"{name}.csv").read_bytes(), blobs(store_folder)


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
