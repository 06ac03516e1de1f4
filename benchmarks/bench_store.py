"""What the operator of a store waits for: a store of recorded outputs, and the commands that answer from it.

    python benchmarks/bench_store.py [--json FILE] [--models 100000] [--added 1000] [--vectors 1000000] [--keep FOLDER]
        [--skip WORD …]

Makes a store of generated outputs (n = 100, k = 10, families of 20) with the rows that a scan would write, and as many
empty files as models, which are never opened. Then times in processes of their own, start-up included: making the
packed vectors, `relatives` for one model and for all, `store ls | head`, `store show`, `store export`, `store check`,
and a scan with nothing to do; from Python: one query with the store open, adding models, and one query among so many
generated vectors in a memory map. Seconds of the wall and of the cores, and peak memory. Neighbours are checked against
all distances first.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import resource
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from sac_fast.bench.results import start_result, write_json
from sac_fast.lineage.ranked import rank_from_vectors
from sac_fast.models import ModelEntry
from sac_fast.neighbours.vectors import draw_order, part_bytes
from sac_fast.scan.jobs import Job, WorkerSettings, code_version, request_hash
from sac_fast.store import FileStamp, ModelRecord, ModelStore
from sac_fast.store.vector_files import Description, VectorFolder
from sac_fast.store.vectors import open_vectors, update_vectors

PROBES = "sha256:" + "7" * 64
N, K, FAMILY = 100, 10, 20
# Seconds, of the hub of 100,000 models.
TARGETS = {"one": 2.0, "all": 90.0, "ls": 1.0, "scan": 3.0, "open": 0.2, "added": 5.0, "vectors": 1.0}


@functools.lru_cache(maxsize=4)
def outputs_of(family: int) -> np.ndarray:
    rng = np.random.default_rng(family)
    parent = rng.standard_normal((N, K), dtype=np.float32)
    steps = (0.2 + 0.05 * np.arange(FAMILY, dtype=np.float32))[:, None, None]
    return parent + steps * rng.standard_normal((FAMILY, N, K), dtype=np.float32)


def add(base: Path, first: int, last: int) -> None:
    """Files and rows of models, as a scan of the files has them."""
    settings = WorkerSettings()
    code = code_version("cpu", settings)
    models = base / "models"
    models.mkdir(exist_ok=True)
    with ModelStore.open(base / "store", write=True, create=True) as store:
        for start in range(first, last, 2_000):
            results = []
            for number in range(start, min(last, start + 2_000)):
                name = f"m{number:07}.npy"
                (models / name).touch()
                entry = settings.prepared(ModelEntry(name, models / name, root=models))
                record = ModelRecord(
                    name=name,
                    path=str(models / name),
                    probe_hash=PROBES,
                    model_hash=f"sha256:{number:064x}",
                    format="npy",
                    file=FileStamp.of(models / name),
                    request=request_hash(Job(0, entry), settings, code),
                )
                results.append((record.key, record, outputs_of(number // FAMILY)[number % FAMILY]))
            store.add_results(results)


def run(label: str, command: str, base: Path) -> dict[str, Any]:
    """A shell command in a process of its own; `sac` stands for the console command."""
    script = command.replace("STORE", shlex.quote(str(base / "store"))).replace(
        "MODELS", shlex.quote(str(base / "models"))
    )
    script = script.replace("OUT", shlex.quote(str(base / "out")))
    script = script.replace("sac ", f"{shlex.quote(sys.executable)} -m sac_fast ", 1)
    start = time.perf_counter()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    # An installed package has its modules compiled, as the second start from a source tree.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False, env=environment)
    seconds = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    if done.returncode:
        raise SystemExit(f"{command} failed with {done.returncode}: {done.stderr[-500:]}")
    found = {"label": label, "command": command, "seconds": seconds, "cpu_seconds": cpu}
    print(json.dumps(found), flush=True)
    return found | {"peak_bytes_so_far": after.ru_maxrss * 1024}


def from_python(base: Path, models: int) -> dict[str, Any]:
    """One model's neighbours with the store open, checked against all distances."""
    rows = np.array([one for family in range(models // FAMILY) for one in outputs_of(family)][: min(models, 4_000)])
    rows /= np.linalg.norm(rows, axis=2, keepdims=True)
    with ModelStore.open(base / "store", write=False) as store:
        times = []
        for number in (7, 27, 47, 67, 87, 7):
            start = time.perf_counter()
            found = rank_from_vectors(store, PROBES, [f"m{number:07}.npy"], 10)
            times.append(time.perf_counter() - start)
    if found is None:
        raise SystemExit("the store must answer from its vectors")
    mine = rows[7] @ rows[7].T
    expected = np.sort([float(np.abs(one @ one.T - mine).mean()) for one in rows])[1:11]
    got = [relative.distance for relative in found.relatives["m0000007.npy"]]
    if models <= len(rows) and not np.allclose(got, expected, atol=1e-5):
        raise SystemExit(f"distances must be {expected}, got {got}")
    return {"seconds": times, "first": times[0], "median_of_others": statistics.median(times[1:])}


def add_more(base: Path, models: int, added: int) -> dict[str, Any]:
    start = time.perf_counter()
    add(base, models, models + added)
    stored = time.perf_counter()
    with ModelStore.open(base / "store", write=True) as store:
        count = update_vectors(store, PROBES)
    if count != added:
        raise SystemExit(f"vectors of {added} models must be added, got {count}")
    done = time.perf_counter()
    return {"models": added, "seconds": done - start, "store_seconds": stored - start, "vectors_seconds": done - stored}


def query_vectors(base: Path, models: int, rounds: int = 5) -> dict[str, Any]:
    """One model against generated vectors of a store without lists, from the memory map."""
    folder = base / "vectors"
    with ModelStore.open(folder, write=True, create=True) as store:
        with VectorFolder(store.files.root, PROBES, create=True) as vectors:
            found = Description(N)
            vectors.write("order.i32", draw_order(N, "cosine", 0).astype("<i4").data.cast("B"))
            rng = np.random.default_rng(0)
            for start in range(0, models, 20_000):
                count = min(20_000, models - start)
                parts = {}
                for name, size in zip(("head.u8", "tail.u8"), part_bytes(N, "cosine"), strict=True):
                    parents = rng.integers(70, 186, (-(-count // 10), size), dtype=np.uint8).repeat(10, 0)[:count]
                    parts[name] = parents + rng.integers(0, 8, (count, size), dtype=np.uint8)
                parts["digests.bin"] = rng.integers(0, 256, (count, 32), dtype=np.uint8)
                found = vectors.append(found, parts)
            vectors.write("vectors.json", found.to_json())
        times, families = [], []
        for row in np.random.default_rng(1).integers(models, size=rounds).tolist():
            start_time = time.perf_counter()
            opened = open_vectors(store, PROBES)
            assert opened is not None
            near = opened.nearest(np.array([row]), 9, np.zeros(models, np.bool_))
            times.append(time.perf_counter() - start_time)
            families.append({one // 10 for one in near[0, :9].tolist()} == {row // 10})
    if not all(families):
        raise SystemExit("the nearest of a model must be its family")
    return {"models": models, "seconds": times, "median_seconds": statistics.median(times)}


def commands(base: Path, skip: list[str]) -> list[dict[str, Any]]:
    all_commands = {
        "index": "sac store index STORE --quiet",
        "one": "sac relatives STORE --name m0000007.npy --no-weights",
        "ls": "sac store ls STORE | head",
        "show": "sac store show STORE m0000007.npy",
        "scan": f"sac scan MODELS --store STORE --probe-hash {PROBES} --quiet",
        "all": "sac relatives STORE --quiet --no-weights --json > OUT.json",
        "export": "sac store export STORE OUT.csv --force",
        "check": "sac store check STORE --quiet",
    }
    return [run(label, command, base) for label, command in all_commands.items() if label not in skip]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--models", type=int, default=100_000)
    parser.add_argument("--added", type=int, default=1_000)
    parser.add_argument("--vectors", type=int, default=1_000_000, help="generated vectors, 5 kB each; 0: none")
    parser.add_argument("--keep", type=Path, help="folder of the store, which is used again if it is there")
    parser.add_argument("--skip", nargs="*", default=[], help="labels of commands that are left out")
    asked = parser.parse_args()
    begun = time.perf_counter()
    results = start_result("sac_fast store", len(os.sched_getaffinity(0)))
    with tempfile.TemporaryDirectory() as temporary:
        base = (asked.keep or Path(temporary) / "base").absolute()
        base.mkdir(exist_ok=True)
        if not (base / "store").exists():
            add(base, 0, asked.models)
        results["made_seconds"] = time.perf_counter() - begun
        results["commands"] = commands(base, asked.skip)
        results["from_python"] = from_python(base, asked.models)
        results["added"] = add_more(base, asked.models, asked.added)
        print(json.dumps({name: results[name] for name in ("made_seconds", "from_python", "added")}), flush=True)
        if asked.vectors:
            results["vectors"] = query_vectors(base, asked.vectors)
            print(json.dumps(results["vectors"]), flush=True)
    seconds = {row["label"]: row["seconds"] for row in results["commands"]}
    seconds |= {"open": results["from_python"]["median_of_others"], "added": results["added"]["seconds"]}
    if asked.vectors:
        seconds["vectors"] = results["vectors"]["median_seconds"]
    results["targets"] = {
        label: {"seconds": seconds[label], "at_most": most} for label, most in TARGETS.items() if label in seconds
    }
    results["hardware"]["load_average_after"] = os.getloadavg()[0]
    if asked.json is not None:
        write_json(results | {"models": asked.models, "seconds": time.perf_counter() - begun}, asked.json)
    cores = {row["label"]: f" ({row['cpu_seconds']:.2f} s of the cores)" for row in results["commands"]}
    for label, row in results["targets"].items():
        print(f"{label:8} {row['seconds']:8.2f} s{cores.get(label, '')}, at most {row['at_most']:g}")


if __name__ == "__main__":
    main()
