"""A scan on a GPU against the same scan on the CPU: the same answers, and models a second; a part of gpu_check.py.

python benchmarks/gpu_scan.py [--device cuda] [--models 60]
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sac_fast import ProbeSet, correlation_distance, save_weights
from sac_fast.demo.architectures import inception, plain, residual
from sac_fast.models import list_entries
from sac_fast.scan.run import scan_models
from sac_fast.store import ModelStore

# cuDNN may multiply in TF32, which torch allows it by default: 11 bits of every factor.
TOLERANCE = 1e-3
MAKERS = (plain, residual, inception)


def check_scan(device: str, models: int = 60, probes: int = 800) -> list[dict[str, Any]]:
    """Scan a small zoo of three architectures on the CPU and on the device, the latter twice.

    Args:
        device: of the second and third scan.
        models, probes: how many.

    Returns:
        A row for each check, as gpu_check.py keeps them, and one with the seconds.
    """
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        names = make_zoo(base, models, probes)
        found, seconds = {}, {}
        for name, where in (("cpu", "cpu"), ("device", device), ("again", device)):
            with ModelStore.open(base / name, write=True, create=True) as store:
                summary = scan_models(
                    list_entries(base / "zoo.csv"), ProbeSet.load(base / "probes"), store, device=where
                )
                if summary.done != models:
                    return [{"case": f"scan on {where}", "error": summary.reasons, "tolerance": 0, "ok": False}]
                seconds[name] = summary.seconds - summary.phases["start"]
                found[name] = [store.outputs(record) for record in map(store.record_for, names) if record is not None]
        pairs = zip(found["cpu"], found["device"], strict=True)
        # NumPy's maximum keeps a NaN, which Python's may drop
        far = float(np.max([float(correlation_distance(a, b, metric="pearson")) for a, b in pairs]))
        bits = sum(not torch.equal(a, b) for a, b in zip(found["device"], found["again"], strict=True))
    answers = f"scan: the answers on {device}"
    return [
        {"case": f"{answers}, distance to the CPU's", "error": far, "tolerance": TOLERANCE, "ok": far < TOLERANCE},
        {"case": f"{answers} that differ the second time", "error": bits, "tolerance": 0, "ok": bits == 0},
        {"case": "scan: seconds", "error": 0, "tolerance": 0, "ok": True, "models": models, "seconds": seconds},
    ]


def make_zoo(base: Path, models: int, probes: int) -> list[str]:
    rng = np.random.default_rng(0)
    ProbeSet.from_arrays(rng.integers(0, 256, (probes, 32, 32, 3), dtype=np.uint8)).save(base / "probes")
    rows = ["path,architecture"]
    for number in range(models):
        torch.manual_seed(number)
        make = MAKERS[number % len(MAKERS)]
        save_weights(base / f"m{number:03}.safetensors", make(10))
        rows.append(f"m{number:03}.safetensors,{make.__module__}:{make.__name__}")
    (base / "zoo.csv").write_text("\n".join(rows) + "\n")
    return [row.split(",")[0] for row in rows[1:]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--models", type=int, default=60)
    asked = parser.parse_args()
    rows = check_scan(asked.device, asked.models)
    print(json.dumps(rows, indent=1))
    if not all(row["ok"] for row in rows):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
