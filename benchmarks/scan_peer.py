"""Two loops that fingerprint many models, peers of `bench_scan.py`: as the reference scripts do it, and a lean one.

    python scan_peer.py MODELS_FOLDER PROBES.h5 OUT.json [lean]

As the scripts, written from their description: each model in turn: load, `.to(device)`, a DataLoader over the HDF5 of
the probes, the n×n matrix, which is kept. Lean is what one would write who wants no more than the outputs and the
distances: the probes are read once, `inference_mode`, outputs saved one file a model, one matrix at a time. It checks
nothing, limits nothing, and remembers nothing of the files.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from sac_fast.demo.architectures import plain


class Probes(Dataset[Tensor]):
    def __init__(self, path: str) -> None:
        with h5py.File(path) as file:
            self.images = file["data"][:]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Tensor:
        return torch.from_numpy(self.images[index]).permute(2, 0, 1).float() / 255


def correlation(outputs: Tensor) -> Tensor:
    outputs = F.normalize(outputs, dim=-1)
    return 1 - torch.mm(outputs, outputs.transpose(0, 1))


def as_the_scripts(paths: list[Path], probes: str) -> list[float]:
    """Distances of all models to the first."""
    matrices = []
    for path in paths:
        model = plain(10)
        model.load_state_dict(load_file(path))
        model = model.to("cpu").eval()
        outputs = []
        with torch.no_grad():
            for x in DataLoader(Probes(probes), batch_size=64, shuffle=False):
                outputs.append(model(x).detach())
        matrices.append(correlation(torch.cat(outputs)))
    n = matrices[0].shape[0]
    return [float((matrix - matrices[0]).abs().sum() / n**2) for matrix in matrices]


def lean(paths: list[Path], probes: str, saved: Path) -> list[float]:
    """Distances of all models to the first; their outputs are files in a folder."""
    saved.mkdir()
    with h5py.File(probes) as file:
        x = torch.from_numpy(file["data"][:]).permute(0, 3, 1, 2).float().div_(255)
    parts = x.contiguous().split(64)
    first, distances = None, []
    with torch.inference_mode():
        for path in paths:
            model = plain(10)
            model.load_state_dict(load_file(path))
            model.eval()
            outputs = torch.cat([model(part) for part in parts])
            np.save(saved / f"{path.stem}.npy", outputs.numpy())
            matrix = correlation(outputs)
            first = matrix if first is None else first
            distances.append(float((matrix - first).abs().mean()))
    return distances


def main(models: str, probes: str, out: str, way: str = "scripts") -> None:
    start = time.perf_counter()
    paths = sorted(Path(models).glob("*.safetensors"))
    distances = as_the_scripts(paths, probes) if way == "scripts" else lean(paths, probes, Path(out + ".outputs"))
    seconds = time.perf_counter() - start
    named = dict(zip((path.name for path in paths), distances, strict=True))
    Path(out).write_text(json.dumps({"seconds": seconds, "distances": named}))


if __name__ == "__main__":
    main(*sys.argv[1:])
