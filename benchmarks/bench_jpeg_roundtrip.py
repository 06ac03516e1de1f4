"""JPEG round trips: `sac_fast.jpeg_roundtrip` against the libraries that encode and decode.

    python benchmarks/bench_jpeg_roundtrip.py [--json FILE] [--threads 1 2] [--images 128] [--repeats 15]
                                              [--also PYTHON ...]

Every engine takes the same batch of photographs (uint8, 112 × 112 and 224 × 224, quality 25, 4:2:0) and gives a batch
of pixels back. Results are compared with Pillow's first; then all engines take turns, repeat by repeat, so that a
drifting machine slows all of them alike; medians. Images/s; GB/s are the pixels read and the pixels written. Engines
that are not installed are named. --also runs Pillow of another environment, one that has pillow-simd in its place.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import statistics
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jpeg_engines import ON_GPU, QUALITY, Batch, engines, make_pillow
from sklearn.datasets import load_sample_image

import sac_fast
from sac_fast.bench.results import start_result, write_json

SIDES = (112, 224)


def photographs(side: int, count: int) -> Batch:
    rng = np.random.default_rng(side)
    pictures = [load_sample_image(name) for name in ("china.jpg", "flower.jpg")]
    crops = []
    for i in range(count):
        picture = pictures[i % 2]
        y, x = (rng.integers(size - side + 1) for size in picture.shape[:2])
        crops.append(picture[y : y + side, x : x + side])
    return np.stack(crops)


def as_array(result: Any) -> np.ndarray:
    return result.cpu().numpy() if isinstance(result, torch.Tensor) else np.asarray(torch.as_tensor(result).cpu())


def on_device(name: str, images: Batch) -> Any:
    return torch.from_numpy(images).cuda() if name in ON_GPU else images


def measure(side: int, options: argparse.Namespace, missing: dict[str, str]) -> list[dict[str, Any]]:
    """One row for each engine and number of threads; all of them take turns."""
    images = photographs(side, options.images)
    expected = as_array(make_pillow(1)[1](images))
    rows, ready = [], []
    for threads in options.threads:
        for name, make in engines(options.pillow_only).items():
            try:
                version, run = make(threads)
                result = as_array(run(on_device(name, images)))
            except (ImportError, OSError, RuntimeError) as error:
                missing[name] = str(error).splitlines()[0] or type(error).__name__
                continue
            difference = np.abs(result.astype(int) - expected)
            ready.append((run, on_device(name, images), []))
            rows.append(
                {
                    "engine": name,
                    "version": version,
                    "side": side,
                    "threads": threads,
                    "images": len(images),
                    "equals_pillow": not difference.any(),
                    "values_off": float((difference > 0).mean()),
                    "largest_difference": int(difference.max()),
                    "sha256": hashlib.sha256(result.tobytes()).hexdigest(),
                }
            )
    for _ in range(options.repeats):
        for run, batch, times in ready:
            start = time.perf_counter()
            run(batch)
            times.append(time.perf_counter() - start)
    for row, (_, _, times) in zip(rows, ready, strict=True):
        seconds = statistics.median(times)
        rates = {"images_per_s": len(images) / seconds, "gb_per_s": 2 * images.nbytes / seconds / 1e9}
        row |= {"seconds": seconds, "best_seconds": min(times), **rates}
    return rows


def other_environment(python: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    command = [python, __file__, "--pillow-only", "--threads", *map(str, options.threads)]
    command += ["--images", str(options.images), "--repeats", str(options.repeats)]
    answer = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ)
    rows: list[dict[str, Any]] = json.loads(answer.stdout)
    return rows


def report(rows: list[dict[str, Any]]) -> None:
    for key in sorted({(row["side"], row["threads"]) for row in rows}):
        group = [row for row in rows if (row["side"], row["threads"]) == key]
        pillow = next(row for row in group if row["engine"] == "Pillow")
        print(f"\n{key[0]} × {key[0]}, quality {QUALITY}, 4:2:0, {key[1]} thread(s), batches of {pillow['images']}")
        print(f"{'engine':20} {'images/s':>10} {'GB/s':>7} {'× Pillow':>9}  equals Pillow  version")
        for row in sorted(group, key=lambda row: row["seconds"]):
            equal = "yes" if row["equals_pillow"] else f"no: {row['values_off']:.1%}, ≤ {row['largest_difference']}"
            print(
                f"{row['engine']:20} {row['images_per_s']:10,.0f} {row['gb_per_s']:7.3f} "
                f"{pillow['seconds'] / row['seconds']:9.2f}  {equal:14} {row['version']}"
            )


def targets(rows: list[dict[str, Any]], seconds: str) -> dict[str, float]:
    """224 × 224: one thread against Pillow and the fastest equal peer; two threads against one."""
    fast = {(r["threads"], r["engine"]): r[seconds] for r in rows if r["side"] == 224 and r["equals_pillow"]}
    ours = f"sac_fast {sac_fast.capabilities()['instruction_sets'][0]}"
    peers = {name: time for (threads, name), time in fast.items() if threads == 1 and not name.startswith("sac_fast")}
    peer = min(peers, key=lambda name: peers[name])
    result = {
        "times_pillow": fast[1, "Pillow"] / fast[1, ours],
        f"times_fastest_equal_peer ({peer})": peers[peer] / fast[1, ours],
    }
    if (2, ours) in fast:
        result["two_threads_times_one"] = fast[1, ours] / fast[2, ours]
    return {name: round(value, 2) for name, value in result.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="write the figures here too")
    parser.add_argument("--images", type=int, default=128, help="images of a batch")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--also", action="append", default=[], metavar="PYTHON", help="an environment with pillow-simd")
    parser.add_argument("--pillow-only", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    start = time.perf_counter()
    result = start_result("sac_fast jpeg_roundtrip", max(options.threads))
    missing: dict[str, str] = {}
    rows = [row for side in SIDES for row in measure(side, options, missing)]
    if options.pillow_only:
        print(json.dumps(rows))
        return
    theirs = {(row["side"], row["sha256"]) for row in rows if row["engine"] == "Pillow"}
    for python in options.also:
        for row in other_environment(python, options):
            rows.append(row | {"equals_pillow": (row["side"], row["sha256"]) in theirs})
    print(", ".join(f"{key} {value}" for key, value in result["hardware"].items()))
    report(rows)
    goals = {which: targets(rows, which) for which in ("seconds", "best_seconds")}
    print("\n224 × 224, medians:", goals["seconds"], "\n224 × 224, best of each:", goals["best_seconds"])
    for name, why in missing.items():
        print(f"not measured: {name}: {why}")
    if "pillow-simd" not in {row["engine"] for row in rows}:
        print("not measured: pillow-simd: give --also the Python of an environment that has it")
    if options.json:
        result |= {"quality": QUALITY, "rows": rows, "missing": missing, "targets": goals}
        write_json(result | {"seconds": time.perf_counter() - start}, options.json)


if __name__ == "__main__":
    main()
