"""Scans of recorded outputs and of fingerprints."""

import dataclasses

import numpy as np
import pytest
import torch
from support import scan_models
from support.scan_runs import PROBES, SETTINGS

from sac_fast import ProbeSet, fingerprint
from sac_fast.models import list_entries
from sac_fast.scan.jobs import ScanError
from sac_fast.scan.run import scan_models as scan


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


def test_recorded_outputs_in_another_form_than_the_sources(folder, store):
    logits = 3 * torch.randn(40, 5, generator=torch.Generator().manual_seed(0))
    np.save(folder / "source.npy", logits.numpy())
    np.save(folder / "probabilities.npy", logits.softmax(1).numpy())
    np.save(folder / "labels.npy", logits.argmax(1).numpy())
    np.save(folder / "other.npy", logits.flip(0).numpy())
    scan(list_entries(folder), "sha256:" + "0" * 64, store, sources=["source.npy"], workers=1, settings=SETTINGS)
    found = {row.name: row.distance for row in store.distances()}
    assert found["source.npy"] == found["labels.npy"] == 0.0
    assert found["probabilities.npy"] == pytest.approx(0.0, abs=1e-6)
    assert found["other.npy"] > 0.1


def test_models_over_the_budget_of_a_scan_are_run_by_the_next_one(folder, store):
    for name in "abc":
        np.save(folder / f"{name}.npy", np.full((2, 5), ord(name), np.float32))
    entries, digits = list_entries(folder), "sha256:" + "0" * 64
    small = dataclasses.replace(SETTINGS, max_store_bytes=90)  # two of 40 bytes
    summary = scan(entries, digits, store, workers=1, settings=small)
    assert (summary.done, summary.reasons) == (2, {"over-budget": 1})
    summary = scan(entries, digits, store, workers=1, settings=SETTINGS)
    assert (summary.done, summary.known, summary.failed) == (1, 2, 0)
