"""A signal ends a scan soon, whatever its models do."""

import os
import signal
import threading
import time

from support.scan_runs import PROBES, SETTINGS, entry

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
