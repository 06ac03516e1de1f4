"""Everything that a GPU must show, in one command that builds nothing.

    python benchmarks/gpu_check.py [--out benchmarks/results/gpu_check.json] [--quick] [--skip-tests]

Runs the tests marked `cuda`, compares every op that has a CUDA kernel with the float64 definition (metric × dtype ×
awkward size), runs a small case under compute-sanitizer where it exists, measures the machine's ceilings (device copy,
bf16, TF32 and float32 matrix products), then times the ops beside PyTorch on the same GPU: CUDA events, warm-up,
medians, inputs in turns that are together larger than L2. Writes one JSON. Exit code 1: something is wrong, or no GPU.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

import sac_fast
from sac_fast import reference
from sac_fast.bench.machine import describe
from sac_fast.bench.peers import naive, tiled

ROOT = Path(__file__).resolve().parents[1]
METRICS = ("cosine", "pearson", "spearman", "rbf")
# The largest |error| of a distance: the stated precision of level "highest", and float64's own.
DTYPES = {torch.float32: 1e-6, torch.float16: 1e-6, torch.bfloat16: 1e-6, torch.float64: 1e-12}
SIZES = ((2, 1), (3, 7), (31, 10), (33, 10), (63, 16), (64, 17), (65, 10), (127, 512), (129, 1000), (1001, 33))
PAIRS = ((1_000, 10), (10_000, 10), (10_000, 512), (65_536, 10), (65_536, 512))
QUICK_PAIRS = ((300, 10), (500, 64))
IMAGES = ((112, 256), (224, 256))
L2_BYTES = 192 << 20  # more than any card has today
NAIVE_BYTES = 40 << 30  # the naive way keeps four n×n matrices; beyond this it is not tried
Row = dict[str, Any]


def outputs(n: int, k: int, seed: int, dtype: torch.dtype = torch.float32, device: str = "cpu") -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, k, generator=generator, dtype=torch.float64).to(dtype).to(device)


def run_tests() -> Row:
    """The tests marked `cuda`, in a process of their own."""
    start = time.perf_counter()
    command = [sys.executable, "-m", "pytest", "-q", "-m", "cuda", "-p", "no:cacheprovider", str(ROOT / "tests")]
    answer = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    end = answer.stdout.strip().splitlines()
    return {"rc": answer.returncode, "seconds": time.perf_counter() - start, "end": end[-25:]}


def check_pairs(device: str, backend: str) -> list[Row]:
    """correlation_distance against the float64 reference on the CPU, twice for equal bits, and d(a, a) = 0."""
    rows = []
    for n, k in SIZES:
        for metric in METRICS:
            for dtype, tolerance in DTYPES.items():
                a, b = outputs(n, k, n + k, dtype), outputs(n, max(1, k - 3), n, dtype)
                expected = float(reference.correlation_distance(a.double(), b.double(), metric=metric))
                on_device = a.to(device), b.to(device)
                got = [sac_fast.correlation_distance(*on_device, metric=metric, backend=backend) for _ in range(2)]
                itself = sac_fast.correlation_distance(
                    on_device[0], on_device[0].clone(), metric=metric, backend=backend
                )
                error = abs(float(got[0]) - expected)
                good = error <= tolerance and bool(got[0] == got[1]) and float(itself) == 0.0
                name = f"correlation_distance n={n} k={k} {metric} {str(dtype).removeprefix('torch.')}"
                rows.append({"case": name, "error": error, "tolerance": tolerance, "ok": good})
    return rows


def check_jpeg(device: str, backend: str) -> list[Row]:
    """jpeg_roundtrip against Pillow's pixels, which the CPU kernels are tested to give."""
    rows = []
    rng = np.random.default_rng(0)
    for height, width in ((1, 1), (7, 9), (16, 16), (17, 31), (112, 112), (223, 225)):
        for sampling in ("4:4:4", "4:2:2", "4:2:0"):
            for quality in (1, 25, 50, 75, 95, 100):
                images = torch.from_numpy(rng.integers(0, 256, (3, height, width, 3), dtype=np.uint8))
                expected = sac_fast.jpeg_roundtrip(images, quality, subsampling=sampling, backend="reference")
                got = sac_fast.jpeg_roundtrip(images.to(device), quality, subsampling=sampling, backend=backend).cpu()
                different = int((got != expected).sum())
                name = f"jpeg_roundtrip {height}×{width} q={quality} {sampling}"
                rows.append({"case": name, "error": different, "tolerance": 0, "ok": different == 0})
    return rows


def sanitize() -> Row:
    """A small case under compute-sanitizer's memcheck and racecheck."""
    tool = shutil.which("compute-sanitizer") or shutil.which("/usr/local/cuda/bin/compute-sanitizer")
    if tool is None:
        return {"missing": "compute-sanitizer is not on this machine"}
    found: Row = {}
    for check in ("memcheck", "racecheck"):
        command = [tool, "--tool", check, "--error-exitcode", "9", sys.executable, __file__, "--small-case"]
        answer = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
        found[check] = {"rc": answer.returncode, "end": (answer.stdout + answer.stderr).strip().splitlines()[-8:]}
    return found


def small_case() -> None:
    a, b = outputs(130, 33, 1, device="cuda"), outputs(130, 10, 2, device="cuda")
    for metric in METRICS:
        sac_fast.correlation_distance(a, b, metric=metric, backend="cuda")
    images = torch.randint(0, 256, (2, 33, 47, 3), dtype=torch.uint8, device="cuda")
    sac_fast.jpeg_roundtrip(images, 25, backend="cuda")
    torch.cuda.synchronize()


def timed(calls: list[Callable[[], Any]], device: str, repeats: int) -> float:
    """Median seconds of one call; the calls take turns, so that no input stays in L2."""
    for call in calls[:2]:
        call()
    seconds = []
    for index in range(repeats):
        call = calls[index % len(calls)]
        if device == "cpu":
            start = time.perf_counter()
            call()
            seconds.append(time.perf_counter() - start)
            continue
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        call()
        end.record()
        end.synchronize()
        seconds.append(begin.elapsed_time(end) / 1e3)
    return statistics.median(seconds)


def ceilings(device: str, quick: bool) -> Row:
    """What this machine can do: bytes/s of a copy (read + written), FLOP/s of matrix products."""
    size = 1 << (20 if quick else 30)
    source, target = (torch.empty(size, dtype=torch.uint8, device=device) for _ in range(2))
    found = {"copy_bytes_per_s": 2 * size / timed([lambda: target.copy_(source)], device, 10)}
    side = 256 if quick else 8192
    for name, dtype, tf32 in (
        ("bf16", torch.bfloat16, False),
        ("tf32", torch.float32, True),
        ("fp32", torch.float32, False),
    ):
        torch.backends.cuda.matmul.allow_tf32 = tf32
        a, b = outputs(side, side, 1, dtype, device), outputs(side, side, 2, dtype, device)
        found[f"{name}_flop_per_s"] = 2 * side**3 / timed([lambda a=a, b=b: a @ b], device, 10)
    torch.backends.cuda.matmul.allow_tf32 = False
    return found


def row_of(case: str, engine: str, make: Callable[[], float], flop: float | None = None) -> Row:
    try:
        seconds = make()
    except (RuntimeError, ImportError, TypeError, torch.cuda.OutOfMemoryError) as error:
        return {"case": case, "engine": engine, "missing": f"{type(error).__name__}: {str(error).splitlines()[0]}"}
    return {"case": case, "engine": engine, "seconds": seconds, "flop_per_s": flop and flop / seconds}


def time_pairs(device: str, backend: str, quick: bool) -> list[Row]:
    rows = []
    for n, k in QUICK_PAIRS if quick else PAIRS:
        sets = max(2, min(64, -(-L2_BYTES // (8 * n * k)))) if not quick else 2
        data = [(outputs(n, k, 2 * s, device=device), outputs(n, k, 2 * s + 1, device=device)) for s in range(sets)]
        repeats = 5 if n > 20_000 else 20
        # Two products of the symmetric half: n² k multiply-adds of each model.
        flop = 2.0 * n * n * k
        case = f"pair n={n} k={k} cosine"

        def ours(metric: str, data: Any = data, repeats: int = repeats) -> float:
            calls = [lambda p=p: sac_fast.correlation_distance(*p, metric=metric, backend=backend) for p in data]
            return timed(calls, device, repeats)

        def peer(way: Callable[..., Any], data: Any = data, repeats: int = repeats, **options: Any) -> float:
            return timed([lambda p=p: way(*p, "cosine", **options) for p in data], device, repeats)

        rows.append(row_of(case, "sac_fast", lambda ours=ours: ours("cosine"), flop))
        rows.append(row_of(case.replace("cosine", "rbf"), "sac_fast", lambda ours=ours: ours("rbf"), flop))
        fits = 16 * n * n <= NAIVE_BYTES
        for tf32 in (False, True):
            torch.backends.cuda.matmul.allow_tf32 = tf32
            told = " TF32" if tf32 else ""
            if fits:
                rows.append(row_of(case, f"naive{told}", lambda peer=peer: peer(naive), 2 * flop))
            rows.append(row_of(case, f"tiled{told}", lambda peer=peer: peer(tiled), flop))
        torch.backends.cuda.matmul.allow_tf32 = False
        if fits:
            rows.append(row_of(case, "torch.compile(naive)", lambda peer=peer: peer(torch.compile(naive)), 2 * flop))
    return rows


def time_jpeg(device: str, backend: str, quick: bool) -> list[Row]:
    rows = []
    for side, count in ((32, 8),) if quick else IMAGES:
        sets = 2 if quick else max(2, -(-L2_BYTES // (2 * count * side * side * 3)))
        batches = [torch.randint(0, 256, (count, side, side, 3), dtype=torch.uint8, device=device) for _ in range(sets)]
        calls = [lambda x=x: sac_fast.jpeg_roundtrip(x, 25, backend=backend) for x in batches]
        row = row_of(f"jpeg {count} of {side}×{side} q=25", "sac_fast", lambda calls=calls: timed(calls, device, 20))
        if "seconds" in row:
            row["bytes_per_s"] = 2 * batches[0].numel() / row["seconds"]
        rows.append(row)
    return rows


def hardware(device: str) -> Row:
    found: Row = {**describe(torch.get_num_threads()), "cuda": torch.version.cuda, "device": device}
    if device == "cuda":
        properties = torch.cuda.get_device_properties(0)
        found |= {"gpu": properties.name, "memory": properties.total_memory, "sms": properties.multi_processor_count}
        query = [
            "nvidia-smi",
            "--query-gpu=driver_version,clocks.sm,clocks.mem,clocks.max.sm,power.limit",
            "--format=csv",
        ]
        answer = subprocess.run(query, capture_output=True, text=True)
        found["nvidia_smi"] = answer.stdout.strip().splitlines()
    return found


def report(record: Row) -> None:
    checks = record["checks"]
    wrong = [row for row in checks if not row["ok"]]
    print(f"{len(checks) - len(wrong)} of {len(checks)} results right")
    for row in wrong[:40]:
        print(f"  WRONG {row['case']}: error {row['error']:.3g}, allowed {row['tolerance']:g}")
    for name, value in record["ceilings"].items():
        print(f"{name:20} {value:.4g}")
    for row in record["times"]:
        told = row.get("missing") or f"{row['seconds'] * 1e3:12.4f} ms"
        print(f"{row['case']:34} {row['engine']:22} {told}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "gpu_check.json")
    parser.add_argument("--quick", action="store_true", help="small sizes")
    parser.add_argument("--skip-tests", action="store_true")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda", help="cpu: try the script without a GPU")
    parser.add_argument("--small-case", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    device, backend = options.device, options.device
    if device == "cuda" and not torch.cuda.is_available():
        print("gpu_check: no CUDA device; nothing was checked", file=sys.stderr)
        return 1
    if options.small_case:
        small_case()
        return 0
    record: Row = {"machine": hardware(device), "command": " ".join(sys.argv), "load": os.getloadavg()}
    steps: dict[str, Callable[[], Any]] = {
        "checks": lambda: check_pairs(device, backend) + check_jpeg(device, backend),
        "ceilings": lambda: ceilings(device, options.quick),
        "times": lambda: time_pairs(device, backend, options.quick) + time_jpeg(device, backend, options.quick),
    }
    if device == "cuda":
        steps["sanitizer"] = sanitize
        if not options.skip_tests:
            steps["tests"] = run_tests
    for name, step in steps.items():
        print(f"gpu_check: {name} …", file=sys.stderr)
        record[name] = step()
        # Kept after every step: a hang in a later one does not lose it.
        options.out.write_text(json.dumps(record, indent=1) + "\n")
    report(record)
    bad_tools = [v for v in record.get("sanitizer", {}).values() if isinstance(v, dict) and v["rc"] != 0]
    wrong = any(not row["ok"] for row in record["checks"]) or bad_tools or record.get("tests", {}).get("rc", 0) != 0
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
