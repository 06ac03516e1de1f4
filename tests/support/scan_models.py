"""Models that behave and misbehave, for scans: `support.scan_models:Tiny`, what it does is its argument."""

import gc
import os
import signal
import sys
import tempfile
import time

import numpy as np
import torch
from torch import nn

from sac_fast import ProbeSet, save_weights

SPEC = "support.scan_models:Tiny"


class Tiny(nn.Module):
    """4×4 pixels to 5 numbers, after doing what it was told to."""

    def __init__(self, does="", seconds=0.0, marker=""):
        super().__init__()
        self.linear = nn.Linear(48, 5)
        self.does, self.seconds, self.marker = does, seconds, marker
        if does == "exit while built":
            sys.exit(3)

    def forward(self, x):
        if self.seconds:
            time.sleep(self.seconds)
        answer = self.linear(x.flatten(1))
        if self.does:
            changed = getattr(self, "do_" + self.does.replace(" ", "_"))(x, answer)
            answer = answer if changed is None else changed
        return answer

    def do_crash(self, x, answer):
        os.kill(os.getpid(), signal.SIGSEGV)

    def do_exit(self, x, answer):
        os._exit(7)

    def do_raise(self, x, answer):
        raise RuntimeError("I \x1b[31mwill not\n" + "x" * 10_000)

    def do_hang(self, x, answer):
        while True:
            time.sleep(1)

    def do_nan(self, x, answer):
        answer[1, 2] = float("nan")

    def do_rows(self, x, answer):
        return answer[:-1]

    def do_hog(self, x, answer):
        return answer + torch.ones(1 << 30, 4).sum()

    def do_change_input(self, x, answer):
        x.zero_()

    def do_change_input_unseen(self, x, answer):
        x.data.zero_()
        x.numpy()[:] = 0

    def do_print(self, x, answer):
        print("noise " * 1000)
        os.write(2, b"noise " * 1000)

    def do_ask_for_folders(self, x, answer):
        """What libraries ask for when they are imported."""
        from torch._inductor.runtime.cache_dir_utils import cache_dir

        assert os.path.isdir(tempfile.gettempdir())
        assert os.path.isdir(cache_dir())

    def do_need_gc(self, x, answer):
        """The process that workers are forked from imports without it."""
        assert gc.isenabled()

    def do_write(self, x, answer):
        with open(self.marker, "w") as handle:
            handle.write("here")

    def do_forge(self, x, answer):
        """Write nonsense into every socket."""
        for descriptor in range(3, 64):
            try:
                if os.readlink(f"/proc/self/fd/{descriptor}").startswith("socket:"):
                    os.write(descriptor, b"\xff" * 64)
            except OSError:
                continue

    def do_crash_once(self, x, answer):
        """Ends as if killed from outside, the first time; files cannot be written here, links can."""
        try:
            os.symlink("nowhere", self.marker)
        except FileExistsError:
            return
        os.kill(os.getpid(), signal.SIGKILL)


def probes(n=6):
    rng = np.random.default_rng(3)
    return ProbeSet.from_arrays(rng.integers(0, 256, (n, 4, 4, 3), dtype=np.uint8))


def weights(path, seed=0):
    """A file of weights for `Tiny`; returns the module."""
    torch.manual_seed(seed)
    model = Tiny()
    save_weights(path, model)
    return model
