"""Neighbour searches among very many models: rates, recall, growth, radius, one query from a memory map.

    python benchmarks/bench_neighbours.py [--json FILE] [--only PART …] [--before MODULE.so] [--rounds 5]

Parts, each with both sides in turn:

* sweep: bytes compared a second by one pass over all entries, beside the limit of the registers (bench/limits.cpp);
* top: the ten nearest of 20,000 models with outputs, by a subset and by the uint8 sweep; with `--before` also by the
  uint8 sweep of an earlier compiled module;
* growth: ten nearest of 2·10⁴, 6·10⁴ and 2·10⁵ models with generated vectors in families of ten; exponent, and seconds
  of 10⁶ by it;
* radius: all pairs within a quarter of the usual distance, from a block of 2,000 queries;
* query: one model against 10⁶ generated vectors in a memory map (5 GB in --folder).
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sac_fast import nearest_models
from sac_fast.bench.limits import BYTE_DIFFERENCES, measure_limits
from sac_fast.bench.results import start_result, write_json
from sac_fast.neighbours import vectors
from sac_fast.neighbours.search import Sample, nearest_by_subset, nearest_vectors
from sac_fast.neighbours.within import choose_radius, pairs_within, steps_within

N, K, TOP = 100, 10, 10
PARTS = ("sweep", "top", "growth", "radius", "query")
_EARLIER = """
import importlib.util, json, sys, time
import numpy as np
spec = importlib.util.spec_from_file_location("_C", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
x = np.load(sys.argv[2])
m, n, k = x.shape
views = [(one.ctypes.data, "float32", n, k, k, 1) for one in x]
values, indices = np.empty((m, 10)), np.empty((m, 10), np.int64)
start = time.perf_counter()
module.nearest_models_cpu(views, [], "cosine", 0.7, 10, 20, int(sys.argv[3]), module.instruction_sets()[0],
                          values.ctypes.data, indices.ctypes.data)
print(json.dumps(time.perf_counter() - start))
"""


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = call()
    return time.perf_counter() - start, result


def family_outputs(models: int, seed: int = 0) -> np.ndarray:
    """Models in families of 20, farther and farther from their parent."""
    rng = np.random.default_rng(seed)
    parents = rng.standard_normal((-(-models // 20), N, K), dtype=np.float32).repeat(20, 0)[:models]
    steps = (0.2 + 0.05 * (np.arange(models) % 20)).astype(np.float32)[:, None, None]
    return parents + steps * rng.standard_normal((models, N, K), dtype=np.float32)


def family_vectors(models: int, head: np.ndarray | None = None, tail: np.ndarray | None = None) -> vectors.ByteVectors:
    """Generated vectors in families of ten, into memory that is given or made."""
    rng = np.random.default_rng(models)
    head_bytes, tail_bytes = vectors.part_bytes(N, "cosine")
    head = vectors.empty_rows(models, head_bytes) if head is None else head
    tail = vectors.empty_rows(models, tail_bytes) if tail is None else tail
    for start in range(0, models, 4_000):
        end = min(start + 4_000, models)
        for part in (head, tail):
            parents = rng.integers(70, 186, (-(-(end - start) // 10), part.shape[1]), dtype=np.uint8).repeat(10, 0)
            reach = (2 + 2 * (np.arange(end - start) % 10))[:, None]
            noise = rng.integers(0, 64, (end - start, part.shape[1]), dtype=np.uint8) % (2 * reach).astype(np.uint8)
            part[start:end] = parents[: end - start] + noise - reach.astype(np.uint8)
    return vectors.ByteVectors(N, vectors.draw_order(N, "cosine", 0), head, tail)


def sweep(rounds: int, threads: int) -> dict[str, Any]:
    packed = family_vectors(8_192)
    work = 8_192 * 8_191 / 2 * (packed.head.shape[1] + packed.tail.shape[1]) / 1e9
    limits, missing = measure_limits(threads, quick=True)
    rows = []
    for _ in range(rounds):
        seconds, _ = timed(lambda: nearest_vectors(packed, None, TOP))
        row = {"rate": work / seconds}
        if BYTE_DIFFERENCES in limits:
            limit = limits[BYTE_DIFFERENCES]
            row["limit"] = limit.work / min(timed(limit.run)[0] for _ in range(5))
            row["fraction"] = row["rate"] / row["limit"]
        rows.append(row)
    best = max(row["rate"] for row in rows)
    found = {"unit": "G abs-diff/s", "rounds": rows, "best_rate": best, "missing": missing}
    if all("limit" in row for row in rows):
        found |= {"fraction": best / max(row["limit"] for row in rows)}
    return found


def top(rounds: int, threads: int, before: Path | None, models: int) -> dict[str, Any]:
    outputs = family_outputs(models)
    listed = list(torch.from_numpy(outputs))
    seconds: dict[str, list[float]] = {}
    recall = equal = None
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "x.npy", outputs)
        for _ in range(rounds):
            took, found = timed(lambda: nearest_by_subset(listed, None, TOP))
            seconds.setdefault("subset", []).append(took)
            took, exact = timed(lambda: nearest_models(listed, top=TOP, first_pass="uint8"))
            seconds.setdefault("uint8", []).append(took)
            equal = float((exact.indices.numpy() == found.indices).mean())
            if found.recall is not None:
                limits = {"lower": found.recall.lower, "candidates": found.recall.candidates}
                recall = {"hits": found.recall.hits, "trials": found.recall.trials, **limits}
            if before is not None:
                command = [sys.executable, "-c", _EARLIER, str(before), str(Path(folder) / "x.npy"), str(threads)]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                seconds.setdefault("uint8 before", []).append(json.loads(done.stdout))
    best = {name: min(times) for name, times in seconds.items()}
    ratios = {f"{name} / subset": best[name] / best["subset"] for name in best if name != "subset"}
    return {"models": models, "seconds": seconds, "ratios": ratios, "recall": recall, "equal_entries": equal}


def growth(sizes: list[int]) -> dict[str, Any]:
    rows = []
    for models in sizes:
        packed = family_vectors(models)
        # nine of a family of ten are relatives; the tenth is a stranger like all others
        took, chosen = timed(lambda packed=packed: Sample(packed, TOP - 1).choose_candidates())
        seconds, _ = timed(lambda packed=packed, chosen=chosen: nearest_vectors(packed, None, TOP, candidates=chosen))
        rows.append({"models": models, "seconds": seconds + took, "candidates": chosen})
        print(json.dumps(rows[-1]), flush=True)
    found: dict[str, Any] = {"rows": rows, "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}
    if len(rows) > 1:
        slopes = np.polyfit(np.log([row["models"] for row in rows]), np.log([row["seconds"] for row in rows]), 1)
        last = rows[-1]
        found["exponent"] = float(slopes[0])
        found["seconds_of_a_million"] = last["seconds"] * (1e6 / last["models"]) ** max(float(slopes[0]), 2.0)
    return found


def radius(rounds: int, models: int) -> dict[str, Any]:
    packed = family_vectors(models)
    usual = choose_radius(packed)
    strangers = float(np.median(nearest_vectors(packed, packed[:50], models // 2).distances[:, -1]))
    rows = []
    for distance in (usual, strangers / 4, strangers / 2):
        limit = steps_within(distance, N, vectors.count_entries(N, "cosine"))
        times = [timed(lambda limit=limit: len(pairs_within(packed, limit, None, 0, 2_000))) for _ in range(rounds)]
        rows.append({"radius": distance, "pairs": times[0][1], "seconds": min(took for took, _ in times)})
    whole = min(timed(lambda: nearest_vectors(packed, packed[:2_000], 1))[0] for _ in range(rounds))
    return {"models": models, "usual_distance": strangers, "rows": rows, "seconds_of_all_entries": whole}


def query(folder: Path | None, models: int, rounds: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(dir=folder) as place:
        parts = [
            np.memmap(Path(place) / name, np.uint8, "w+", shape=(models, size))
            for name, size in zip(("head.u8", "tail.u8"), vectors.part_bytes(N, "cosine"), strict=True)
        ]
        packed = family_vectors(models, *parts)
        rows = np.random.default_rng(0).integers(models, size=rounds)
        times = []
        for row in rows:
            asked = packed.take(np.array([row]))
            took, found = timed(
                lambda asked=asked, row=row: nearest_vectors(packed, asked, TOP, candidates=1_000, first_query=int(row))
            )
            same = set((found.indices[0][:9] // 10).tolist()) == {int(row) // 10}
            times.append({"seconds": took, "finds_its_family": same})
        return {
            "models": models,
            "bytes": sum(part.nbytes for part in parts),
            "rounds": times,
            "median_seconds": statistics.median(row["seconds"] for row in times),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--before", type=Path, help="compiled module of an earlier commit")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--models", type=int, default=20_000)
    parser.add_argument("--growth", type=int, nargs="+", default=[20_000, 60_000, 200_000])
    parser.add_argument("--query-models", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, help="of the memory map; default: the system's for temporary files")
    asked = parser.parse_args()
    threads = torch.get_num_threads()
    start = time.perf_counter()
    results = start_result("sac_fast neighbours", threads)
    parts: dict[str, Callable[[], dict[str, Any]]] = {
        "sweep": lambda: sweep(asked.rounds, threads),
        "top": lambda: top(asked.rounds, threads, asked.before, asked.models),
        "growth": lambda: growth(asked.growth),
        "radius": lambda: radius(asked.rounds, asked.models),
        "query": lambda: query(asked.folder, asked.query_models, asked.rounds),
    }
    for name in asked.only:
        results[name] = parts[name]()
        print(name, json.dumps(results[name]), flush=True)
        if asked.json is not None:  # after every part: what is cut short loses nothing
            write_json(results | {"seconds": time.perf_counter() - start}, asked.json)
    load = os.getloadavg()[0]
    print(f"load average {load:.1f}" if math.isfinite(load) else "")


if __name__ == "__main__":
    main()
