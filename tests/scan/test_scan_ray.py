"""A scan on a real Ray cluster of two nodes on this machine, one of which is killed in the middle."""

import os
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
from support import scan_models
from support.hostile_folder import plant_libraries
from support.store_folders import blobs

import sac_fast
from sac_fast.models import ModelEntry
from sac_fast.scan.jobs import Job, ScanError, WorkerSettings
from sac_fast.scan.protocol import WireError, pack
from sac_fast.scan.run import scan_models as scan
from sac_fast.store import ModelStore, export_models

PROBES = scan_models.probes()
SETTINGS = WorkerSettings(architectures=(scan_models.SPEC,), memory_bytes=1 << 30)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Ray's own
def test_a_node_that_is_killed_costs_no_result(tmp_path, monkeypatch):
    ray = pytest.importorskip("ray", reason="the extra ray is not installed")
    from ray.cluster_utils import Cluster

    from sac_fast.scan.ray import RayPool

    paths = [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_raylet_start_wait_time_s", "240")  # on a busy machine
    entries = []
    for number in range(24):
        path = tmp_path / f"m{number:02}.safetensors"
        scan_models.weights(path, number)
        does = {3: "crash", 7: "nan"}.get(number, "")
        entries.append(ModelEntry(path.name, path, scan_models.SPEC, {"seconds": 0.3, "does": does}))
    with ModelStore.open(tmp_path / "alone", write=True, create=True) as store:
        scan(entries, PROBES, store, workers=2, settings=SETTINGS)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        second = cluster.add_node(num_cpus=1)
        ray.init(address=cluster.address, logging_level="ERROR", log_to_driver=False)
        pool = RayPool(cluster.address, PROBES, "cpu", SETTINGS)
        assert pool.capacity() == 4  # twice what the nodes can run at once
        events = []

        def take(event):
            events.append(event)
            if len(events) == 6:
                cluster.remove_node(second, allow_graceful=False)

        with ModelStore.open(tmp_path / "ray", write=True, create=True) as store:
            summary = scan(entries, PROBES, store, workers=pool, settings=SETTINGS, on_event=take)
        assert (summary.done, summary.failed) == (22, 2)
        assert summary.reasons == {"crashed": 1, "not-finite": 1}
        assert not second.any_processes_alive()
        # The head node learns of it from missing heartbeats.
        until = time.monotonic() + 60
        while sum(node["Alive"] for node in ray.nodes()) > 1 and time.monotonic() < until:
            time.sleep(0.5)
        assert [node["Alive"] for node in ray.nodes()].count(True) == 1
    finally:
        ray.shutdown()
        cluster.shutdown()
    assert contents(tmp_path / "ray") == contents(tmp_path / "alone")


def contents(folder):
    with ModelStore.open(folder, write=False) as store:
        export_models(store, folder.parent / "table.csv")
    return (folder.parent / "table.csv").read_bytes(), blobs(folder)


@pytest.mark.slow
def test_workers_of_ray_import_nothing_of_the_folders(tmp_path):
    """Files called as libraries in the scanned and in the current folder, where the user has named code besides."""
    pytest.importorskip("ray", reason="the extra ray is not installed")
    models = tmp_path / "models"
    models.mkdir()
    for folder in (tmp_path, models):
        plant_libraries(folder)
    (tmp_path / "beside_models.py").write_text("from support.scan_models import Tiny as build\n")
    PROBES.save(tmp_path / "probes")
    for number in range(3):
        scan_models.weights(models / f"m{number}.safetensors", number)
        np.save(models / f"r{number}.npy", np.random.default_rng(number).normal(size=(len(PROBES), 5)))
    with h5py.File(models / "r3.h5", "w") as file:
        file["outputs"] = np.random.default_rng(3).normal(size=(len(PROBES), 5))
    folders = os.pathsep.join([str(Path(sac_fast.__file__).parents[1]), str(Path(__file__).parents[1])])
    environment = os.environ | {
        **{"PYTHONPATH": folders, "PYTHONSAFEPATH": "", "OMP_NUM_THREADS": "1"},
        **{"RAY_USAGE_STATS_ENABLED": "0", "RAY_raylet_start_wait_time_s": "240"},
    }
    for store, options in (("alone", ["--workers", "1"]), ("ray", ["--ray", "local"])):
        words = ["scan", "models", "--probes", "probes", "--store", store, "--architecture", "beside_models:build"]
        done = subprocess.run(
            [sys.executable, "-m", "sac_fast", *words, *options], cwd=tmp_path, env=environment, capture_output=True,
            text=True, timeout=300,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-2000:]
        with ModelStore.open(tmp_path / store, write=False) as opened:
            stored = [f"m{number}.safetensors" for number in range(3)] + [f"r{number}.npy" for number in range(3)]
            assert sorted(record.name for record in opened.records()) == sorted([*stored, "r3.h5"])
    assert contents(tmp_path / "ray") == contents(tmp_path / "alone")
    assert [path.name for path in tmp_path.rglob("*.marker")] == []


class FakeRay:
    """As much of Ray as an answer needs."""

    class exceptions:  # noqa: N801
        class RayError(Exception):
            pass

    def __init__(self, result):
        self.result = result

    def get(self, reference):
        if isinstance(self.result, Exception):
            raise self.result
        return self.result


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        (FakeRay.exceptions.RayError(), "worker-lost"),
        ([1, 2], "bad-answer"),
        (b"", "bad-answer"),
        (b"\xff" * 40, "bad-answer"),
        (b"".join(pack({"number": 1})), "bad-answer"),
        (b"".join(pack({"number": 1})) * 2, "bad-answer"),
    ],
)
def test_what_a_task_returns_is_not_believed(result, reason):
    from sac_fast.scan.ray import RayPool

    pool = RayPool.__new__(RayPool)
    pool._ray, pool._settings, pool._rows = FakeRay(result), SETTINGS, 6
    assert pool._result("reference").reason == reason


def test_a_task_never_raises():
    from sac_fast.scan.jobs import request_of
    from sac_fast.scan.protocol import FrameReader, read_reply
    from sac_fast.scan.ray import run_task

    entry = ModelEntry("m", Path("/nowhere"), scan_models.SPEC)
    frame = run_task(b"no JSON", None, b"".join(pack(request_of(Job(3, entry)))))
    ((header, body),) = FrameReader().feed(frame)
    assert header["number"] == 3
    assert read_reply(header, body, 6).reason == "worker-lost"
    with pytest.raises(WireError):
        run_task(b"", None, b"\xff" * 40)


def test_without_ray_the_extra_is_named(monkeypatch):
    from sac_fast.scan.ray import RayPool

    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ScanError, match=r"sac-fast\[ray\]"):
        RayPool("auto", None, "cpu", SETTINGS)
