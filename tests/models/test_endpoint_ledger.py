"""The ledger of queries: locked, checked, and no recorded query asked again whatever dies."""

import json
import os
import pathlib
import signal
import sqlite3
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import sac_fast
from sac_fast.errors import FileFormatError, ModelError
from sac_fast.models import BlackBox, QueryLedger

TESTS = pathlib.Path(__file__).parents[1]


@pytest.fixture
def probes():
    pixels = np.stack([np.full((4, 4, 3), value, np.uint8) for value in range(0, 200, 10)])
    return sac_fast.ProbeSet.from_arrays(pixels)


def brightness(images):
    value = images.mean() / 255
    return np.array([[1 - value, value]])


def test_a_ledger_is_used_by_one_run_at_a_time(tmp_path):
    with QueryLedger(tmp_path / "l.sqlite"), pytest.raises(ModelError, match="another run has open"):
        QueryLedger(tmp_path / "l.sqlite")
    QueryLedger(tmp_path / "l.sqlite").close()


def test_other_files_are_no_ledger(tmp_path):
    (tmp_path / "text").write_text("not a database, but long enough to be read as one" * 30)
    with sqlite3.connect(tmp_path / "other.sqlite") as other:
        other.execute("CREATE TABLE a (b)")
    other.close()
    for name in ("text", "other.sqlite"):
        with pytest.raises(FileFormatError, match="must be a query ledger"):
            QueryLedger(tmp_path / name)


@pytest.mark.parametrize("content", [b"", b"1234567", np.array([np.nan]).tobytes(), "text"])
def test_damaged_answers_are_refused(tmp_path, content):
    with QueryLedger(tmp_path / "l.sqlite") as ledger:
        service = ledger.service("key", "address")
        ledger.answered(ledger.begin(service, "p", "first"), np.array([1.0]), seconds=0.1)
    database = sqlite3.connect(tmp_path / "l.sqlite")
    database.execute("UPDATE queries SET answer = ?", (content,))
    database.commit()
    database.close()
    with QueryLedger(tmp_path / "l.sqlite") as ledger, pytest.raises(FileFormatError, match="finite numbers"):
        ledger.answers(service, "first")


def test_what_a_dead_run_left_is_in_doubt_and_counts(tmp_path, probes):
    calls = []
    options = {"output_form": "probabilities", "budget": len(probes) + 2}
    with QueryLedger(tmp_path / "l.sqlite") as ledger:
        service = ledger.service("key", "address")
        box = BlackBox(brightness, ledger=ledger, key="key", **options)
        box.ask(probes.subset(range(5)))
        for probe in ("lost 1", "lost 2"):  # the process dies before the answer
            ledger.begin(service, probe, "first")
    with QueryLedger(tmp_path / "l.sqlite") as ledger:
        box = BlackBox(lambda images: calls.append(1) or brightness(images), ledger=ledger, key="key", **options)
        assert (box.counts["in doubt"], box.counts["answered"]) == (2, 5)
        box.ask(probes)
        assert len(calls) == len(probes) - 5
        assert box.counts["asked"] == len(probes) + 2
        other = sac_fast.ProbeSet.from_arrays(np.full((1, 4, 4, 3), 255, np.uint8))
        with pytest.raises(ModelError, match="budget of 22 queries is spent: 0 of 1"):
            box.ask(other)


def test_probes_that_were_asked_are_spent(tmp_path):
    with QueryLedger(tmp_path / "l.sqlite") as ledger:
        service = ledger.service("key", "address")
        ledger.begin(service, "a", "first")
        assert ledger.spent(["a", "b"], before=time.time() + 1) == 1
        assert ledger.spent(["a", "b"], before=time.time() - 60) == 0


CLIENT = """
import json, pathlib, sys
import sac_fast
from sac_fast.models import BlackBox, Endpoint, QueryLedger
url, ledger, probes = sys.argv[1:]
labels = ["dark", "middle", "bright"]
endpoint = Endpoint(url, answer="result.label", output_form="labels", labels=labels, concurrency=3, retries=8)
with QueryLedger(ledger) as known:
    box = BlackBox.of_endpoint(endpoint, ledger=known)
    outputs = box.ask(sac_fast.ProbeSet.load(probes))
    print(json.dumps({"outputs": outputs[:, 0].tolist(), **box.counts}))
"""


class Process:
    """A process of this test, with what it prints."""

    def __init__(self, *arguments):
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path])}
        self.process = subprocess.Popen(
            [sys.executable, *map(str, arguments)], stdout=subprocess.PIPE, text=True, env=environment
        )

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate()


@pytest.mark.slow
def test_no_recorded_query_is_asked_again_over_crashes_of_client_and_server(probes, tmp_path):
    """Client killed, server killed and started again in the middle."""
    pytest.importorskip("httpx2", reason="needs httpx2, which is not installed")
    pytest.importorskip("jmespath", reason="needs jmespath, which is not installed")
    log, ledger = tmp_path / "log.txt", tmp_path / "l.sqlite"
    probes.save(tmp_path / "p.safetensors")

    def start_server(port):
        server = Process("-m", "support.prediction_server", port, log)
        return server, server.process.stdout.readline().strip()

    def lines():
        return log.read_text().splitlines() if log.exists() else []

    def wait_for(count):
        deadline = time.monotonic() + 60
        while len(lines()) < count and time.monotonic() < deadline:
            time.sleep(0.01)

    server, address = start_server(0)
    arguments = ("-c", CLIENT, f"{address}/slow/0.15", ledger, tmp_path / "p.safetensors")
    client = Process(*arguments)
    wait_for(5)
    client.kill()
    time.sleep(0.3)  # the server ends what it was asked
    before = lines()
    with QueryLedger(ledger) as known:
        counts = known.counts(1)
        recorded = len(known.answers(1, "first"))
    assert counts["in doubt"] <= 3
    assert counts["asked"] == recorded + counts["in doubt"] >= len(before) >= 5

    client = Process(*arguments)
    wait_for(len(before) + 4)
    server.kill()
    thread = threading.Timer(0.5, lambda: started.append(start_server(int(address.rpartition(":")[2]))))
    started = []
    thread.start()
    output, _ = client.process.communicate(timeout=120)
    thread.join()
    started[0][0].kill()
    found = json.loads(output)
    assert found["outputs"] == [0.0] * 9 + [1.0] * 8 + [2.0] * 3
    assert found["answered"] == len(probes)
    repeated = len(lines()) - len(set(lines()))
    assert repeated <= found["in doubt"] + found["failed"]
    with QueryLedger(ledger) as known:
        answers = known.answers(1, "first")
    assert len(answers) == len(probes)
    per_probe = (
        sqlite3.connect(ledger)
        .execute("SELECT max(c) FROM (SELECT count(*) AS c FROM queries WHERE state = 'answered' GROUP BY probe)")
        .fetchone()[0]
    )
    assert per_probe == 1
