"""Stores of recorded outputs with packed vectors."""

import numpy as np
import torch

from sac_fast.store import ModelRecord

PROBES = "sha256:" + "5" * 64


def outputs_of(count, seed=0, n=40, k=5):
    rng = np.random.default_rng(seed)
    parents = rng.standard_normal((-(-count // 4), n, k)).repeat(4, 0)[:count]
    return (parents + 0.2 * rng.standard_normal((count, n, k))).astype(np.float32)


def add(store, outputs, first=0, **values):
    results = []
    for number, one in enumerate(outputs, first):
        fields = {"name": f"m{number:03}", "path": f"m{number}.npy", "probe_hash": PROBES, "format": "npy"} | values
        record = ModelRecord(model_hash=f"sha256:{number:064x}", **fields)
        results.append((record.key, record, torch.from_numpy(one)))
    store.add_results(results)
