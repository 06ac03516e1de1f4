"""The reference scripts' way to fingerprint many models, written from its description: peer of `bench_scan.py`.

Each model in turn: load, `.to(device)`, a DataLoader over the HDF5 of the probes, the n×n matrix, which is kept.

    python scan_peer.py MODELS_FOLDER PROBES.h5 OUT.json
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import h5py
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


def main(models: str, probes: str, out: str) -> None:
    start = time.perf_counter()
    names, matrices = [], []
    for path in sorted(Path(models).glob("*.safetensors")):
        model = plain(10)
        model.load_state_dict(load_file(path))
        model = model.to("cpu").eval()
        outputs = []
        with torch.no_grad():
            for x in DataLoader(Probes(probes), batch_size=64, shuffle=False):
                outputs.append(model(x).detach())
        names.append(path.name)
        matrices.append(correlation(torch.cat(outputs)))
    n = matrices[0].shape[0]
    distances = [float((matrix - matrices[0]).abs().sum() / n**2) for matrix in matrices]
    seconds = time.perf_counter() - start
    Path(out).write_text(json.dumps({"seconds": seconds, "distances": dict(zip(names, distances, strict=True))}))


if __name__ == "__main__":
    main(*sys.argv[1:])
