"""An interpreter that ends while daemon threads are inside of the compiled module."""

from __future__ import annotations

import subprocess
import sys
import threading

import numpy as np
import pytest

from sac_fast import correlation_distance

PROGRAM = """
import os, sys, threading, traceback, numpy
def end(failed):  # the others would wait for it
    traceback.print_exception(failed.exc_value)
    os._exit(1)
threading.excepthook = end
outputs = numpy.random.default_rng(0).random((40, 600, 32), dtype="float32")
ready = threading.Barrier(4)
if sys.argv[1] == "op":
    from sac_fast import correlation_distance
    def run():
        correlation_distance(outputs[0], outputs[1])
elif sys.argv[1] == "search":  # without torch
    from sac_fast.neighbours.search import nearest_by_subset
    def run():
        nearest_by_subset(list(outputs), top=2, seed=1)
else:
    from sac_fast import ProbeSet
    probes = ProbeSet.from_arrays(numpy.zeros((20, 64, 64, 3), "uint8"))
    def run():
        probes.jpeg(severity=1)
def work():
    run()
    ready.wait()
    while True:
        run()
for _ in range(3):
    threading.Thread(target=work, daemon=True).start()
ready.wait()
"""


@pytest.mark.parametrize("inside", ["op", "search", "probes"])
def test_daemon_threads_do_not_abort_the_end(inside: str) -> None:
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, inside], capture_output=True, text=True, check=False, timeout=120
    )
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
