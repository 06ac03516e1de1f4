"""What the operator of a store waits for: a store of recorded outputs, and the commands that answer from it.

    python benchmarks/bench_store.py [--json FILE] [--models 100000] [--added 1000] [--keep FOLDER] [--skip relatives]

Makes a store of generated outputs (n = 100, k = 10, families of 20), then times in processes of their own, start-up
included: making its packed vectors, adding models to it, `relatives` for one model and for all, `store ls | head`,
`store show`, `store export`, `store check`; and one query from Python with the store open. Seconds of the wall and of
the cores, and peak memory. The one model's neighbours are checked against all distances first.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sac_fast.bench.results import start_result, write_json
from sac_fast.lineage.ranked import rank_from_vectors
from sac_fast.store import ModelRecord, ModelStore
from sac_fast.store.vectors import update_vectors

PROBES = "sha256:" + "7" * 64
N, K, FAMILY = 100, 10, 20


def outputs_of(family: int) -> np.ndarray:
    rng = np.random.default_rng(family)
    parent = rng.standard_normal((N, K), dtype=np.float32)
    steps = (0.2 + 0.05 * np.arange(FAMILY, dtype=np.float32))[:, None, None]
    return parent + steps * rng.standard_normal((FAMILY, N, K), dtype=np.float32)


def add(folder: Path, first: int, last: int) -> None:
    with ModelStore.open(folder, write=True, create=True) as store:
        for start in range(first, last, 2_000):
            results = []
            for number in range(start, min(last, start + 2_000)):
                record = ModelRecord(
                    name=f"m{number:07}.npy",
                    path=f"m{number:07}.npy",
                    probe_hash=PROBES,
                    model_hash=f"sha256:{number:064x}",
                    format="npy",
                )
                results.append((record.key, record, torch.from_numpy(outputs_of(number // FAMILY)[number % FAMILY])))
            store.add_results(results)


def run(command: str, folder: Path) -> dict[str, Any]:
    """A shell command in a process of its own; `sac` stands for the console command."""
    start = time.perf_counter()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    script = command.replace("STORE", shlex.quote(str(folder)))
    script = script.replace("sac ", f"{shlex.quote(sys.executable)} -m sac_fast ", 1)
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    if done.returncode:
        raise SystemExit(f"{command} failed with {done.returncode}: {done.stderr[-500:]}")
    found = {"command": command, "seconds": time.perf_counter() - start, "cpu_seconds": cpu}
    print(json.dumps(found), flush=True)
    return found | {"peak_bytes_so_far": after.ru_maxrss * 1024}


def from_python(folder: Path, models: int) -> dict[str, Any]:
    """One model's neighbours with the store open, checked against all distances."""
    rows = np.array([one for family in range(models // FAMILY) for one in outputs_of(family)][: min(models, 4_000)])
    rows /= np.linalg.norm(rows, axis=2, keepdims=True)
    with ModelStore.open(folder, write=False) as store:
        times = []
        for _ in range(5):
            start = time.perf_counter()
            found = rank_from_vectors(store, PROBES, ["m0000007.npy"], 10)
            times.append(time.perf_counter() - start)
    if found is None:
        raise SystemExit("the store must answer from its vectors")
    mine = rows[7] @ rows[7].T
    expected = np.sort([float(np.abs(one @ one.T - mine).mean()) for one in rows])[1:11]
    got = [relative.distance for relative in found.relatives["m0000007.npy"]]
    if models <= len(rows) and not np.allclose(got, expected, atol=1e-5):
        raise SystemExit(f"distances must be {expected}, got {got}")
    return {"seconds": times}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--models", type=int, default=100_000)
    parser.add_argument("--added", type=int, default=1_000)
    parser.add_argument("--keep", type=Path, help="folder of the store, which is used again if it is there")
    parser.add_argument("--skip", nargs="*", default=[], help="words of commands that are left out")
    asked = parser.parse_args()
    begun = time.perf_counter()
    results = start_result("sac_fast store", torch.get_num_threads())
    with tempfile.TemporaryDirectory() as temporary:
        folder = asked.keep or Path(temporary) / "store"
        if not folder.exists():
            add(folder, 0, asked.models)
        results["made_seconds"] = time.perf_counter() - begun
        commands = [
            *("sac store index STORE --quiet", "sac relatives STORE --name m0000007.npy", "sac store ls STORE | head"),
            *("sac store show STORE m0000007.npy", "sac store export STORE STORE.csv --force"),
            *("sac store check STORE --quiet", "sac relatives STORE --quiet --no-weights --json > STORE.json"),
        ]
        rows = [run(c, folder) for c in commands if not any(word in c.split() for word in asked.skip)]
        results["commands"] = rows
        results["from_python"] = from_python(folder, asked.models)
        start = time.perf_counter()
        add(folder, asked.models, asked.models + asked.added)
        added = time.perf_counter()
        with ModelStore.open(folder, write=True) as store:
            update_vectors(store, PROBES)
        results["added"] = {"store_seconds": added - start, "vectors_seconds": time.perf_counter() - added}
        print(json.dumps(results["added"]), json.dumps(results["from_python"]), flush=True)
    results["hardware"]["load_average_after"] = os.getloadavg()[0]
    if asked.json is not None:
        write_json(results | {"models": asked.models, "seconds": time.perf_counter() - begun}, asked.json)


if __name__ == "__main__":
    main()
