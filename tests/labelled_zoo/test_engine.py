"""One run at a time in a folder: the second one is refused at once, and the first one loses nothing."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from sac_fast.demo import architectures
from sac_fast.labelled_zoo import engine
from sac_fast.labelled_zoo.engine import LOCK, OutputFolderError, lock_folder, open_folder
from sac_fast.labelled_zoo.folder import LabelledZoo
from sac_fast.models import save_weights
from sac_fast.probes import ProbeSet
from sac_fast.store.lock import WriterLock


def wait_for(found):
    end = time.monotonic() + 120
    while not found():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_second_of_two_simulations_in_one_folder_is_refused_and_nothing_is_lost(tmp_path):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        save_weights(tmp_path / "source.safetensors", architectures.plain(4))
    pixels = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), dtype=np.uint8)
    ProbeSet.from_arrays(pixels, np.arange(40) % 4, layout="NHWC").save(tmp_path / "thief.safetensors")
    out = tmp_path / "zoo"
    command = [
        sys.executable, "-m", "sac_fast", "simulate", "-q", "--workers", "1", "--out", str(out),
        "--source", "sac_fast.demo.architectures:plain", "--model-args", '{"classes": 4}',
        "--weights", str(tmp_path / "source.safetensors"), "--data", str(tmp_path / "thief.safetensors"),
    ]  # fmt: skip
    with subprocess.Popen(
        [*command, "--attacks", "quantize-int8,weight-noise"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as first:
        try:
            wait_for(lambda: ((out / LOCK).exists() and (out / LOCK).read_text().strip()) or first.poll() is not None)
            os.kill(first.pid, signal.SIGSTOP)  # so that it is at work however long the second one takes to start
            second = subprocess.run(
                [*command, "--attacks", "finetune-last"], capture_output=True, text=True, timeout=300, check=False
            )
        finally:
            os.kill(first.pid, signal.SIGCONT)
        _, errors = first.communicate(timeout=300)
    assert (first.returncode, errors) == (0, b"")
    assert second.returncode == 1
    assert "OutputFolderError: out must have one run at a time" in second.stderr
    assert str(out) in second.stderr
    assert f"process {first.pid}" in second.stderr
    zoo = LabelledZoo.load(out)
    assert [member.name for member in zoo.members] == ["source", "quantize-int8-1", "weight-noise-1"]
    assert {path.stem for path in (out / "models").iterdir()} == {member.name for member in zoo.members}
    assert not (out / LOCK).exists()


def test_lock_names_the_other_run_and_goes_with_its_holder(tmp_path):
    out = tmp_path / "new" / "zoo"
    with lock_folder(out):
        with pytest.raises(OutputFolderError, match=rf"got {out}, .*\(process {os.getpid()}\)"), lock_folder(out):
            pass
        assert (out / LOCK).exists()
    assert list(out.iterdir()) == []
    (out / LOCK).write_text("4711")  # left by a killed run
    with lock_folder(out):
        pass
    assert list(out.iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputFolderError, match="out must be a folder, got the file"), lock_folder(tmp_path / "file"):
        pass


def test_lock_on_a_file_that_its_last_holder_removed_counts_for_nothing(tmp_path, monkeypatch):
    """The second run opened the file before the first one removed it."""
    removed = WriterLock(tmp_path)
    (tmp_path / LOCK).unlink()
    locks = [removed]
    monkeypatch.setattr(engine, "_lock", lambda out: locks.pop() if locks else WriterLock(out))
    with lock_folder(tmp_path):
        assert removed.fileno() == -1  # released
        with pytest.raises(engine.StoreLockedError):
            WriterLock(tmp_path)


def test_folder_with_something_else_is_refused_and_empty_folders_are_not(tmp_path):
    assert open_folder(tmp_path / "missing") is None
    (tmp_path / "models").mkdir()
    (tmp_path / LOCK).write_text("4711")
    assert open_folder(tmp_path) is None
    (tmp_path / "models" / "mine.safetensors").write_text("mine")
    with pytest.raises(OutputFolderError, match=r"out must be a new or empty folder, .*'mine\.safetensors'"):
        open_folder(tmp_path)
