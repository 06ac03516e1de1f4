"""SIGKILL at random moments: the scan goes on, and ends with the same bytes as one that nobody disturbed."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from support import scan_models
from support.store_folders import blobs

from sac_fast.store import ModelStore, check_store, export_distances, export_models

MODELS = 24
SECONDS = 0.05  # a call; a model is called four times, which leaves time for a kill


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    """A folder with slow, failing, crashing models and recorded outputs, probes, and an undisturbed scan's bytes."""
    base = tmp_path_factory.mktemp("kill")
    folder = base / "zoo"
    folder.mkdir()
    rows = ["path,architecture,kwargs"]
    for number in range(MODELS):
        scan_models.weights(folder / f"m{number:02}.safetensors", number)
        does = {5: "nan", 11: "crash"}.get(number, "")
        rows.append(f'm{number:02}.safetensors,{scan_models.SPEC},"{{""seconds"": {SECONDS}, ""does"": ""{does}""}}"')
    for number in range(4):
        np.save(folder / f"r{number}.npy", np.random.default_rng(number).standard_normal((6, 3), dtype=np.float32))
        rows.append(f"r{number}.npy,,")
    (folder / "zoo.csv").write_text("\n".join(rows) + "\n")
    scan_models.probes().save(base / "probes")
    assert start(base, "undisturbed").wait() == 0
    return base, contents(base, "undisturbed")


def start(base, store, stderr=None):
    """The command in a process of its own, away from the source tree; its lines go to a file."""
    paths = [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    command = [sys.executable, "-m", "sac_fast", "scan", base / "zoo/zoo.csv", "--probes", base / "probes"]
    command += ["--store", base / store, "--workers", "2", "--source", "m00.safetensors", "--json", "-q"]
    with open(base / f"{store}.lines", "ab") as lines:
        return subprocess.Popen(
            [str(word) for word in command],
            cwd=base,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "OMP_NUM_THREADS": "1"},
            stdout=lines,
            stderr=stderr,
        )


def contents(base, store):
    with ModelStore.open(base / store, write=False) as opened:
        export_models(opened, base / f"{store}.csv")
        export_distances(opened, base / f"{store}-distances.csv")
        assert not check_store(opened).findings
    return [(base / f"{store}{end}").read_bytes() for end in (".csv", "-distances.csv")], blobs(base / store)


def reported(base, store):
    """The events of the models reported so far by complete lines."""
    path = base / f"{store}.lines"
    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    events = [json.loads(line) for line in lines if line.startswith(b"{") and line.endswith(b"}")]
    return [event for event in events if event["event"] == "model"]


def descendants(pid):
    found = []
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        found += [int(child), *descendants(child)]
    return found


def disturb(base, store, process, draw, most):
    """Kill workers, and in the end perhaps the scan; returns the number of kills."""
    kills = 0
    before = len(reported(base, store))
    if draw.random() < 0.7:  # else already during the imports
        while process.poll() is None and len(reported(base, store)) == before:
            time.sleep(0.01)
    for _ in range(draw.randrange(4)):
        time.sleep(draw.uniform(0.05, 0.5))
        try:
            victims = descendants(process.pid)
            if victims and kills < most and process.poll() is None:
                os.kill(draw.choice(victims), signal.SIGKILL)
                kills += 1
        except (OSError, ProcessLookupError):
            continue
    if kills < most and draw.random() < 0.8:
        time.sleep(draw.uniform(0, 0.8))
        if process.poll() is None:
            process.kill()
            kills += 1
    return kills


@pytest.mark.parametrize("wanted", [8, pytest.param(100, marks=pytest.mark.slow)])
def test_killed_at_random_moments_a_scan_ends_with_the_same_bytes(zoo, wanted):
    base, expected = zoo
    draw, kills, rounds, runs = random.Random(wanted), 0, 0, 0
    while kills < wanted:
        store = f"disturbed-{wanted}-{rounds}"
        rounds += 1
        code = None
        while code != 0:
            process = start(base, store)
            runs += 1
            assert runs < 4 * wanted + 20
            kills += disturb(base, store, process, draw, wanted - kills)
            code = process.wait()
            assert code in (0, -signal.SIGKILL)
            acknowledged = {event["name"] for event in reported(base, store)}
            if acknowledged:
                with ModelStore.open(base / store, write=False) as opened:
                    assert acknowledged <= {record.name for record in opened.records()}
        tables, files = contents(base, store)
        for table, other in zip(tables, expected[0], strict=True):
            assert table.splitlines() == other.splitlines()
        assert (tables, files) == expected
        events = reported(base, store)
        run = [event["name"] for event in events if not event.get("known")]
        # No model is reported as run twice: what was acknowledged is known afterwards.
        assert len(run) == len(set(run))
        assert {event["name"] for event in events} == {event["name"] for event in reported(base, "undisturbed")}
        print(f"{kills} kills, {runs} runs, {rounds} scans to the end")
    assert kills == wanted


def test_two_interrupts_and_one(zoo):
    """The first finishes what is in hand and stops with 130, and the scan can go on; so does it after a second."""
    base, expected = zoo
    for name, signals in (("once", 1), ("twice", 2)):
        process = start(base, name)
        while process.poll() is None and len(reported(base, name)) < 3:
            time.sleep(0.01)
        for _ in range(signals):
            process.send_signal(signal.SIGINT)
            time.sleep(0.02)
        code = process.wait(60)
        if signals == 1:
            assert code == 130
            summary = json.loads((base / f"{name}.lines").read_bytes().splitlines()[-1])
            assert summary["interrupted"] == "SIGINT"
            assert 3 <= summary["done"] + summary["failed"] < MODELS
        else:
            assert code == 130
        assert start(base, name).wait() == 0
        assert contents(base, name) == expected


def test_workers_end_with_the_scan(zoo):
    base, _ = zoo
    process = start(base, "ended")
    while process.poll() is None and len(reported(base, "ended")) < 2:
        time.sleep(0.01)
    workers = descendants(process.pid)
    assert len(workers) >= 2
    process.kill()
    process.wait()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and any(is_running(pid) for pid in workers):
        time.sleep(0.02)
    assert not [pid for pid in workers if is_running(pid)]


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_a_second_scan_of_the_store_is_refused_at_once(zoo):
    base, _ = zoo
    with ModelStore.open(base / "shared", write=True, create=True):
        refused = start(base, "shared", stderr=subprocess.PIPE)
        _, errors = refused.communicate(timeout=120)
    assert refused.returncode == 1
    assert f"process {os.getpid()}" in errors.decode()
    assert not reported(base, "shared")
    assert start(base, "shared").wait() == 0
