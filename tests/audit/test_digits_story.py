"""The tutorial's commands as they stand there: from a classifier of one's own to verdicts on files and services.

The client is killed while it asks, the server is killed and started again.
"""

import json
import os
import pathlib
import shlex
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter

import pytest

import sac_fast

TUTORIALS = pathlib.Path(__file__).parents[2] / "docs" / "tutorials"
# Seeds of siblings come from the system's entropy, and one honest suspect in twenty is called derived by chance.
SAC_FAST = """
import sys
from sac_fast.cli.main import main
from sac_fast.labelled_zoo import siblings
def seeds(count, taken=()):
    return [2000000011 + 1000003 * (len(taken) + i) for i in range(count)]
siblings.draw_seeds = seeds
sys.argv[0] = "sac-fast"
main()
"""
MINUTES = 60


def commands():
    """The commands of the tutorial, in order."""
    text = (TUTORIALS / "digits.md").read_text()
    blocks = text.split("```console\n")[1:]
    lines = [line for block in blocks for line in block.split("```")[0].splitlines()]
    return [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]


def start(command, folder):
    """A process of its own group for a command of the tutorial."""
    words = shlex.split(command.removesuffix(" &"))
    program = [sys.executable] if words[0] == "python" else [sys.executable, "-c", SAC_FAST]
    paths = os.pathsep.join([str(pathlib.Path(sac_fast.__file__).parents[1]), *filter(None, sys.path)])
    return subprocess.Popen(
        [*program, *words[1:]],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def finish(process, seconds):
    output, _ = process.communicate(timeout=seconds)
    assert process.returncode == 0, output
    return output


def kill(process):
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def wait_for_requests(folder, count):
    log = folder / "requests.log"
    deadline = time.monotonic() + 60 * MINUTES
    while time.monotonic() < deadline:
        if log.exists() and len(log.read_text().splitlines()) >= count:
            return
        time.sleep(0.05)
    raise AssertionError(f"no {count} requests in time")


@pytest.mark.slow
def test_the_story_of_the_tutorial(tmp_path):
    for name in ("httpx2", "jmespath", "onnxruntime", "sklearn"):
        pytest.importorskip(name, reason=f"needs {name}, which is not installed")
    folder = tmp_path / "digits"
    shutil.copytree(TUTORIALS / "digits", folder, ignore=shutil.ignore_patterns("__pycache__"))
    make, serve, init, plan, audit = commands()
    finish(start(make, folder), 60 * MINUTES)
    server = start(serve, folder)
    server.stdout.readline()
    processes = [server]
    try:
        finish(start(init, folder), 60 * MINUTES)
        assert "trains siblings" in finish(start(plan, folder), 60 * MINUTES)

        client = start(audit, folder)
        processes.append(client)
        wait_for_requests(folder, 30)
        kill(client)

        client = start(audit, folder)
        processes.append(client)
        wait_for_requests(folder, 80)
        kill(server)
        server = start(serve, folder)
        processes.append(server)
        finish(client, 60 * MINUTES)
    finally:
        for process in processes:
            if process.poll() is None:
                kill(process)

    found = json.loads((folder / "case-audit" / "verdicts.json").read_text())
    assert found["failed"] == {}
    assert found["verdict"] == {
        "finetuned.safetensors": "derived",
        "distilled.onnx": "derived",
        "unrelated.pth": "not distinguished",
        "labels": "derived",
        "probabilities": "derived",
    }
    check_ledger(folder)


def check_ledger(folder):
    """No recorded query was asked again; the server saw no more than the ledger knows."""
    with sqlite3.connect(folder / "case-audit" / "ledger.sqlite") as ledger:
        rows = ledger.execute("SELECT service, probe, purpose, state FROM queries").fetchall()
    ledger.close()
    answered = Counter((service, probe, purpose) for service, probe, purpose, state in rows if state == "answered")
    assert set(answered.values()) == {1}
    states = Counter(state for *_, state in rows)
    assert states["in flight"] == 0
    requests = (folder / "requests.log").read_text().splitlines()
    assert len(requests) <= len(rows)
    again = len(requests) - len(set(requests))
    repeats = sum(purpose == "repeat" for _, _, purpose, _ in rows)
    assert again <= repeats + states["in doubt"] + states["failed"]
    assert 0 < len({probe for _, probe, _, _ in rows}) <= 200


def test_the_story_has_five_commands():
    assert len(commands()) == 5
