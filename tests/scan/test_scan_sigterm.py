"""SIGTERM at random moments of a scan of everything hostile: it ends within 5 s, workers too, and goes on later."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from support import hostile_folder, scan_models
from support.scan_runs import PROBES

import sac_fast
from sac_fast.store import ModelStore, check_store

ROOT, TESTS = Path(sac_fast.__file__).parents[1], Path(__file__).parents[1]
# A name that workers keep, though their environment is scrubbed.
MARK = "SAC_FAST_TEST_OF_SIGNALS"
MOMENTS, MAX_SECONDS = 20, 5
GOOD = 20


def start(base, store):
    path = os.pathsep.join([str(ROOT), str(TESTS)])
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "sac_fast", "scan", base / "models", "--probes", base / "probes.safetensors"),
            *("--store", base / store, "--architecture", scan_models.SPEC, "--timeout", "3", "--json"),
            *("--workers", "2", "--quiet"),
        ],
        cwd=base / "models",
        env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", MARK: f"{base}/{store}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip


def alive(base, store):
    """The processes of a scan, wherever they hang in the tree."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            state = (path / "stat").read_text().rsplit(")", 1)[1].split()[0]
            if state != "Z" and f"{MARK}={base}/{store}\0".encode() in (path / "environ").read_bytes():
                found.append(int(path.name))
        except (OSError, IndexError):
            continue
    return found


def contents(base, store):
    with ModelStore.open(base / store, write=False) as opened:
        assert not check_store(opened).findings
        # On a busy machine the limit of time may come before the reason.
        return {record.name: record.status for record in opened.records()}


@pytest.mark.slow
def test_sigterm_at_random_moments_of_a_hostile_scan(tmp_path):
    (tmp_path / "models").mkdir()
    PROBES.save(tmp_path / "probes.safetensors")
    hostile_folder.make_folder(tmp_path / "models")
    for seed in range(GOOD):
        scan_models.weights(tmp_path / "models" / f"good{seed:02}.safetensors", seed)
    begun = time.monotonic()
    undisturbed = start(tmp_path, "undisturbed")
    assert len(alive(tmp_path, "undisturbed")) >= 1
    undisturbed.communicate()
    whole = time.monotonic() - begun
    assert undisturbed.returncode == 0
    expected = contents(tmp_path, "undisturbed")
    draw = random.Random(19)
    taken, stored = [], []
    for number in range(MOMENTS):
        store = f"store{number}"
        process = start(tmp_path, store)
        before = ""
        if number % 2:
            # After some of its results, however long a busy machine takes for them.
            count = draw.randrange(1, len(expected) * 3 // 4)
            before, moment = "".join(process.stdout.readline() for _ in range(count)), f"{count} lines"
        else:
            # One in each tenth of the time that a scan takes, its start included.
            seconds = (number + 2 * draw.random()) / MOMENTS * whole * 0.95
            time.sleep(seconds)
            moment = f"{seconds:.1f} s of {whole:.0f} s"
        assert process.poll() is None, "the scan ended before the signal"
        process.send_signal(signal.SIGTERM)
        sent = time.monotonic()
        guard = threading.Timer(60, process.kill)
        guard.start()
        # not `communicate`, which passes over what `readline` has buffered
        with process:
            output, errors = before + process.stdout.read(), process.stderr.read()
        guard.cancel()
        while alive(tmp_path, store) and time.monotonic() - sent < 60:
            time.sleep(0.01)
        taken.append(time.monotonic() - sent)
        assert taken[-1] < MAX_SECONDS, f"{taken[-1]:.1f} s after a signal at {moment}"
        assert process.returncode in (128 + signal.SIGTERM, -signal.SIGTERM), errors[-2000:]
        assert "Traceback" not in errors
        events = [json.loads(line) for line in output.splitlines()]
        reported = {event["name"]: event["status"] for event in events if event["event"] == "model"}
        found = contents(tmp_path, store) if (tmp_path / store / "zoo.sqlite").exists() else {}
        assert reported.items() <= found.items()
        assert found.items() <= expected.items()
        stored.append(len(found))
    assert sum(count > 0 for count in stored) >= MOMENTS // 2
    print(f"{whole:.0f} s undisturbed; stopped in at most {max(taken):.2f} s, with {stored} stored of {len(expected)}")
    assert not alive(tmp_path, "undisturbed")
    # Any of them can be continued.
    for number in (1, MOMENTS // 2, MOMENTS - 2):
        process = start(tmp_path, f"store{number}")
        process.communicate()
        assert process.returncode == 0
        assert contents(tmp_path, f"store{number}") == expected
