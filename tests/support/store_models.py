"""Models for the tests of the store: records and outputs that depend on their number alone."""

from __future__ import annotations

import hashlib

import torch

from sac_fast.store import ModelRecord, ResultKey


def sha(text: object) -> str:
    return "sha256:" + hashlib.sha256(str(text).encode()).hexdigest()


PROBES = sha("probes")


def model(i: int, **changes: object) -> ModelRecord:
    values = {
        "name": f"model-{i:04}",
        "path": f"folder/{i}.npy",
        "probe_hash": PROBES,
        "format": "npy",
        "model_hash": sha(i),
        "code_version": "1",
    }
    return ModelRecord(**{**values, **changes})


def result(i: int, n: int = 6, k: int = 3) -> tuple[ResultKey, ModelRecord, torch.Tensor]:
    record = model(i)
    return record.key, record, torch.arange(n * k, dtype=torch.float32).reshape(n, k) + i
