"""Files that attack whoever opens them, each with the reason for which it must be refused.

`make_hostile_folder` writes all of them; payloads would create the file `marker(folder)`.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

import numpy as np

from .hostile import Maker, fixed_bytes, flipped, marker
from .hostile_arrays import array_files, hdf5_files
from .hostile_onnx import onnx_files
from .hostile_safetensors import safetensors_files
from .hostile_torch import torch_files

__all__ = ["make_hostile_folder", "marker"]


def make_hostile_folder(folder: Path) -> dict[str, str]:
    """Write every hostile file into an existing folder.

    Returns:
        Name -> the reason of the `ModelRefusedError`.
    """
    (folder / ".hidden").mkdir()
    reasons = {".hidden/other.h5": "which-array"}
    for table in (
        safetensors_files(),
        torch_files(folder),
        array_files(folder),
        hdf5_files(),
        onnx_files(),
        _no_files(),
    ):
        for name, (reason, make) in table.items():
            make(folder / name)
            reasons[name] = reason
    return reasons


def _no_files() -> dict[str, tuple[str, Maker]]:
    def damaged_fingerprint(path: Path) -> None:
        import sac_fast

        probes = sac_fast.ProbeSet.from_arrays(np.zeros((2, 4, 4, 3), np.uint8))
        sac_fast.fingerprint(lambda x: x.mean((2, 3)), probes, name="x").save(path)
        path.write_bytes(flipped(path.read_bytes(), -2 + path.stat().st_size))

    def probe_set(path: Path) -> None:
        import sac_fast

        sac_fast.ProbeSet.from_arrays(np.zeros((2, 4, 4, 3), np.uint8)).save(path)

    def sparse(path: Path) -> None:
        path.write_bytes(b"\x08\x09")
        os.truncate(path, 12 << 30)

    return {
        "sparse.onnx": ("expanded", sparse),
        "sparse.npy": ("expanded", sparse),
        "empty.safetensors": ("empty", fixed_bytes(b"")),
        "empty.onnx": ("empty", fixed_bytes(b"")),
        "directory.safetensors": ("not-a-regular-file", lambda path: path.mkdir()),
        "fifo.pth": ("not-a-regular-file", lambda path: os.mkfifo(path)),
        "socket": ("not-a-regular-file", lambda path: os.mknod(path, stat.S_IFSOCK | 0o600)),
        "loop-a.pth": ("symlink-loop", lambda path: path.symlink_to("loop-b.pth")),
        "loop-b.pth": ("symlink-loop", lambda path: path.symlink_to("loop-a.pth")),
        "loop-of-folders": ("not-a-regular-file", lambda path: path.symlink_to(".")),
        "outside.pth": ("symlink", lambda path: path.symlink_to("/etc/passwd")),
        "dangling.pth": ("missing", lambda path: path.symlink_to("nothing-here")),
        "text": ("unknown-format", fixed_bytes(b"hello\nworld\n")),
        "zeros": ("unknown-format", fixed_bytes(bytes(1000))),
        "fingerprint": ("damaged", damaged_fingerprint),
        "probes": ("not-a-model", probe_set),
    }
