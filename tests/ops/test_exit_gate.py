"""An interpreter that ends while daemon threads are inside of ops."""

from __future__ import annotations

import subprocess
import sys
import threading

import numpy as np

from sac_fast import correlation_distance

PROGRAM = """
import threading, time, numpy
from sac_fast import correlation_distance
outputs = numpy.random.default_rng(0).random((600, 32), dtype="float32")
ready = threading.Barrier(4)
def work():
    correlation_distance(outputs, outputs)
    ready.wait()
    while True:
        correlation_distance(outputs, outputs)
for _ in range(3):
    threading.Thread(target=work, daemon=True).start()
ready.wait()
"""


def test_daemon_threads_do_not_abort_the_end() -> None:
    run = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False, timeout=120)
    assert (run.returncode, run.stderr) == (0, "")


def test_other_threads_get_the_same_results() -> None:
    outputs = np.random.default_rng(0).random((2, 20, 5))
    found: list[float] = []

    def work() -> None:
        found.append(correlation_distance(*outputs).item())

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [correlation_distance(*outputs).item()] * 4
