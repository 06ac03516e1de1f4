"""What one model and one scan may add to a store."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import numpy as np
from support.store_models import PROBES

from sac_fast.models import ModelEntry
from sac_fast.scan.budgets import store_budget
from sac_fast.scan.jobs import Job, WorkerSettings, request_hash
from sac_fast.scan.protocol import RunResult
from sac_fast.scan.records import RecordBuilder

HASH = "sha256:" + "1" * 64


def built(builder: RecordBuilder, shape: tuple[int, int]) -> str | None:
    job = Job(0, ModelEntry("a", Path("a.npy")))
    record, result = builder.build(job, RunResult(np.zeros(shape, np.float32), "npy", HASH, recorded=True))
    assert record.name == "a"
    return result.reason


def test_wide_outputs_are_refused() -> None:
    builder = RecordBuilder(PROBES, WorkerSettings(max_outputs=5), "1")
    assert built(builder, (3, 5)) is None
    assert built(builder, (3, 6)) == "too-large"


def test_a_scan_adds_no_more_than_its_budget() -> None:
    builder = RecordBuilder(PROBES, WorkerSettings(), "1", left_bytes=100)
    found = [built(builder, (2, k)) for k in (5, 5, 3, 6, 2, 1)]
    assert found == [None, None, "over-budget", "over-budget", None, "over-budget"]  # 40 + 40 + 16 bytes
    assert builder.left_bytes == 4


def test_the_budget_is_half_of_the_free_disk_or_what_was_said(tmp_path: Path) -> None:
    free = np.prod([getattr(os.statvfs(tmp_path), name) for name in ("f_bavail", "f_frsize")])
    assert 0.4 * free < store_budget(WorkerSettings(), tmp_path) < 0.6 * free
    assert store_budget(WorkerSettings(max_store_bytes=7), tmp_path) == 7


def test_budgets_and_sandbox_change_no_request() -> None:
    job, settings = Job(0, ModelEntry("a", Path("a.npy"))), WorkerSettings()
    changed = dataclasses.replace(
        settings, max_outputs=3, max_store_bytes=4, threads=2, sandbox=False, readable=["/x"], timeout=1
    )
    assert request_hash(job, changed, "1") == request_hash(job, settings, "1")
