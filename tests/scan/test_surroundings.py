"""Faults of the surroundings are reported and not stored: the next scan runs the model again."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sac_fast.errors import ModelRefusedError
from sac_fast.formats.identify import open_model_file
from sac_fast.formats.limits import Limits
from sac_fast.models import ModelEntry
from sac_fast.scan.jobs import Job
from sac_fast.scan.protocol import FrameReader, RunResult, failed
from sac_fast.scan.run import scan_models
from sac_fast.scan.worker import _failure
from sac_fast.store import ModelStore

HASH = "sha256:" + "0" * 64
OUTPUTS = np.arange(12.0).reshape(4, 3)


class Answers:
    """An executor that fails as it is told to, once for each model, and then reads the file."""

    def __init__(self, faults: dict[str, RunResult]) -> None:
        self._faults, self._jobs = faults, list[Job]()

    def capacity(self) -> int:
        return 1

    def submit(self, job: Job) -> None:
        self._jobs.append(job)

    def poll(self, seconds: float) -> list[tuple[Job, RunResult]]:
        done, self._jobs = self._jobs, []
        good = RunResult(OUTPUTS, "npy", "sha256:" + "1" * 64, recorded=True)
        return [(job, self._faults.get(job.entry.name, good)) for job in done]

    def pending(self) -> int:
        return len(self._jobs)

    def cancel_queued(self) -> None: ...

    def close(self) -> None: ...


def test_what_is_no_fault_of_the_model_is_not_stored(tmp_path: Path) -> None:
    faults = {
        "lost.npy": failed("worker-lost", "NodeDied after 5 retries"),
        "mount.npy": failed("missing", "cannot read 'mount.npy': No such file or directory"),
        "memory.npy": failed("environment", "[Errno 12] Cannot allocate memory"),
        "own.npy": failed("not-finite", "the model must return finite numbers"),
    }
    entries = []
    for name in (*faults, "good.npy"):
        np.save(tmp_path / name, OUTPUTS)
        entries.append(ModelEntry(name, tmp_path / name))
    entries.append(ModelEntry("absent.npy", tmp_path / "absent.npy"))
    faults["absent.npy"] = failed("missing", "cannot read 'absent.npy'")
    events: list[dict[str, Any]] = []
    with ModelStore.open(tmp_path / "s", write=True, create=True) as store:
        summary = scan_models(entries, HASH, store, workers=Answers(faults), on_event=events.append)
        # What the scan itself does not find either is the manifest's fault, and kept.
        assert {record.name for record in store.records()} == {"good.npy", "own.npy", "absent.npy"}
        again = scan_models(entries, HASH, store, workers=Answers({}))
        assert {record.name: record.status for record in store.records()} == dict.fromkeys(
            [entry.name for entry in entries], "done"
        ) | {"own.npy": "failed"}
    reasons = {event["name"]: event["reason"] for event in events if event["status"] == "failed"}
    assert reasons == {
        **{"lost.npy": "worker-lost", "mount.npy": "environment", "memory.npy": "environment"},
        **{"own.npy": "not-finite", "absent.npy": "missing"},
    }
    assert (summary.done, summary.failed, summary.reasons["environment"]) == (1, 5, 2)
    assert (again.done, again.failed, again.known) == (4, 0, 2)


@pytest.mark.parametrize("code", [errno.ENOMEM, errno.EMFILE, errno.EIO, errno.ESTALE, errno.ENOTCONN])
def test_errors_of_the_machine_are_told_from_those_of_a_file(code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> int:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "open", fail)
    with pytest.raises(ModelRefusedError) as caught:
        open_model_file("model.npy", Limits())
    assert _failure(caught.value, "load-failed").reason == "environment"
    assert _failure(OSError(errno.EACCES, "no"), "load-failed").reason == "load-failed"


def test_ray_gets_absolute_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sac_fast.scan.ray import RayPool

    monkeypatch.chdir(tmp_path)
    sent: list[bytes] = []

    class Task:
        def remote(self, *arguments: bytes) -> int:
            sent.append(arguments[2])
            return len(sent)

    pool = RayPool.__new__(RayPool)
    pool._task, pool._setup, pool._block, pool._running = Task(), b"", None, {}
    job = Job(7, ModelEntry("a", Path("models/a.npy"), root=Path("models")))
    pool.submit(job)
    ((header, _),) = FrameReader().feed(sent[0])
    assert (header["path"], header["root"]) == (f"{tmp_path}/models/a.npy", f"{tmp_path}/models")
    assert pool._running == {1: job}  # what is recorded is as the user wrote it
