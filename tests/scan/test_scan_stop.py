"""A signal ends a scan soon, whatever its models do."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest
import torch
from onnx import helper
from support.hostile_onnx import loop_onnx
from support.scan_runs import PROBES, SETTINGS, entry, run_scan

from sac_fast import pairwise_correlation_distances
from sac_fast.models import list_entries
from sac_fast.scan import running
from sac_fast.scan.results import ResultWriter
from sac_fast.scan.run import scan_models as scan
from sac_fast.store import ModelStore


def test_sigterm_ends_a_scan_whose_model_hangs(folder, tmp_path):
    entries = [entry(folder, "good"), entry(folder, "hanging", does="hang")]
    sent = []

    def send():
        sent.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGTERM)

    def stop(event):
        assert event["name"] == "good"
        threading.Timer(0.3, send).start()

    with ModelStore.open(tmp_path / "store", write=True, create=True) as store:
        summary = scan(entries, PROBES, store, workers=1, settings=SETTINGS, on_event=stop)
        assert time.monotonic() - sent[0] < 5
        assert (summary.interrupted, summary.done, summary.failed) == ("SIGTERM", 1, 0)
        assert [record.name for record in store.records()] == ["good"]  # the next scan runs the other one


def loop_of_images(condition):
    """A graph of 4×4 pixels with a Loop that ends at once, or never."""
    model = loop_onnx(condition)
    del model.graph.input[0].type.tensor_type.shape.dim[1]
    for side in (3, 4, 4):
        model.graph.input[0].type.tensor_type.shape.dim.add(dim_value=side)
    model.graph.node[-1].input[2] = "flat"
    model.graph.node.insert(0, helper.make_node("Flatten", ["x"], ["flat"]))
    return model.SerializeToString()


def test_an_endless_loop_inside_an_onnx_graph_times_out(folder, store, pool):
    for name, condition in (("ends", False), ("endless", True)):
        (folder / f"{name}.onnx").write_bytes(loop_of_images(condition))
    pool.limit(timeout=3)
    _, events = run_scan(list_entries(folder), store, pool)
    reasons = {name: event.get("reason") for name, event in events.items()}
    assert reasons == {"ends.onnx": None, "endless.onnx": "timed-out"}


@pytest.mark.parametrize(("place", "during"), [(ResultWriter, "add_missing_distances"), (running, "keep_vectors")])
def test_sigterm_ends_what_comes_after_the_models(folder, tmp_path, monkeypatch, place, during):
    """It may take minutes in a large store, most of them inside of one op."""
    ended = []

    def work(*arguments, **options):
        threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGTERM)).start()
        outputs = torch.rand(500, 300, 4)
        try:
            while True:
                pairwise_correlation_distances(outputs)
        finally:
            ended.append(time.monotonic())

    monkeypatch.setattr(place, during, work)
    with ModelStore.open(tmp_path / "store", write=True, create=True) as store:
        begun = time.monotonic()
        summary = scan([entry(folder, "good")], PROBES, store, workers=1, settings=SETTINGS)
        assert (summary.interrupted, summary.done) == ("SIGTERM", 1)
    assert len(ended) == 1
    assert ended[0] - begun < 60


@pytest.mark.parametrize(("code", "said"), [(143, "early\n"), (130, "early\n"), (1, "early\nlate\n")])
def test_after_a_signal_the_command_skips_the_clean_up_of_its_libraries(code, said):
    """Torch's takes seconds on a busy machine."""
    program = (
        "import atexit, sys; from sac_fast.cli import main; atexit.register(print, 'late'); "
        f"main.make_app = lambda names: lambda: (print('early'), sys.exit({code})); main.main()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (code, said), done.stderr
