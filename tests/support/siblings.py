"""Training codes of siblings that take no time, and probes for them."""

import os
import time
from pathlib import Path

import numpy as np
import torch

from sac_fast.labelled_zoo import engine, trainer
from sac_fast.probes import ProbeSet

CODE = __file__


def network():
    """6×6 RGB in, four outputs."""
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(108, 4))


def train(seed):
    torch.manual_seed(seed)
    return network()


def accurate(seed):
    """Its accuracy grows with the seed."""
    return train(seed), 0.25 + seed / 2**33


def sleeps_after_the_first(seed):
    marker = Path(os.environ["SIBLINGS_SLEEP"])
    if marker.exists():
        time.sleep(600)
    marker.touch()
    return train(seed)


def run_jobs_here(monkeypatch):
    """The engine's jobs run in this process, one after the other, where a test is about what is made."""

    def in_this_process(jobs, work, start, arguments, **options):
        monkeypatch.setattr(trainer, "_trainer", arguments[0])
        for job in jobs:
            yield job, work(job)

    monkeypatch.setattr(engine, "in_processes", in_this_process)


def make_probes(seed, count=6):
    pixels = np.random.default_rng(seed).integers(0, 256, (count, 6, 6, 3), dtype=np.uint8)
    return ProbeSet.from_arrays(pixels, layout="NHWC", name=f"random {seed}")
