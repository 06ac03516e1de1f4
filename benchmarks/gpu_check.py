"""Everything that a GPU must show, in one command that builds nothing.

    python benchmarks/gpu_check.py [--out benchmarks/results/gpu_check.json] [--quick] [--only times] [--cases pair512]
                                   [--kernel warp] [--limit 300]

Steps: checks (every op with a CUDA kernel against float64: metric × dtype × precision × awkward size; a scan against
the CPU's), ceilings (device copy, matrix products), times (the ops beside PyTorch and libraries on the same GPU: CUDA
events, warm-up, medians, inputs in turns that are together larger than L2), sanitizer (a small case under compute-
sanitizer, where it exists), tests (those marked `cuda`). Writes one JSON, after each check and case; a step named by
--only leaves what an earlier run wrote of the others. Exit code 1: something is wrong, a target is missed, or there is
no GPU.

Each check and each case has a process of its own, with a limit: a kernel that hangs, or that leaves the device's
context unusable, costs its own rows and no others.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import gpu_check_results
import torch
from gpu_check_parts import measure_part, run, run_part
from gpu_check_results import CHECKS, small_case
from gpu_check_times import cases, ceilings, targets
from gpu_scan import check_scan

from sac_fast import capabilities
from sac_fast.bench.results import start_result, write_json
from sac_fast.ops.cuda import tiles

ROOT = Path(__file__).resolve().parents[1]
STEPS = ("checks", "ceilings", "times", "sanitizer", "tests")
Row = dict[str, Any]
ALL_CHECKS: dict[str, Callable[[str, str], Iterable[Row]]] = {**CHECKS, "scan": lambda device, _: check_scan(device)}


def run_tests(limit: float) -> Row:
    """The tests marked `cuda`, in a process of their own."""
    start = time.perf_counter()
    command = [sys.executable, "-m", "pytest", "-q", "-m", "cuda", "-p", "no:cacheprovider", str(ROOT / "tests")]
    rc, end = run(command, limit)
    return {"rc": rc, "seconds": time.perf_counter() - start, "end": end[-25:]}


def sanitize(arguments: list[str], limit: float) -> Row:
    """A small case under compute-sanitizer's memcheck and racecheck."""
    tool = shutil.which("compute-sanitizer") or shutil.which("/usr/local/cuda/bin/compute-sanitizer")
    if tool is None:
        return {"missing": "compute-sanitizer is not on this machine"}
    found: Row = {}
    for check in ("memcheck", "racecheck"):
        command = [tool, "--tool", check, "--error-exitcode", "9", sys.executable, __file__, "--small-case", *arguments]
        rc, end = run(command, limit)
        found[check] = {"rc": rc, "end": end[-12:]}
    return found


def describe_device(device: str) -> Row:
    found: Row = {"cuda": torch.version.cuda, "device": device}
    found["cuda_architectures"] = capabilities()["cuda_architectures"]
    if device == "cuda":
        properties = torch.cuda.get_device_properties(0)
        found |= {"gpu": properties.name, "memory": properties.total_memory, "sms": properties.multi_processor_count}
        query = "--query-gpu=driver_version,clocks.sm,clocks.mem,clocks.max.sm,power.limit"
        answer = subprocess.run(["nvidia-smi", query, "--format=csv"], capture_output=True, text=True)
        found["nvidia_smi"] = answer.stdout.strip().splitlines()
    return found


def report(record: Row) -> bool:
    """Print what stands in the record; True if nothing is wrong."""
    good = True
    if "checks" in record:
        checks = record["checks"]
        wrong = [row for row in checks if not row["ok"]]
        good &= not wrong
        print(f"{len(checks) - len(wrong)} of {len(checks)} results right")
        for row in wrong[:40]:
            reason = row.get("missing") or f"error {row['error']:.3g}, allowed {row['tolerance']:g}"
            print(f"  WRONG {row['case']}: {reason}")
    for row in record.get("ceilings", []):
        for name, value in row.items():
            print(f"{name:20} {value}" if isinstance(value, str) else f"{name:20} {value:.4g}")
    for row in record.get("times", []):
        time_text = row.get("missing") or f"{row['seconds'] * 1e3:12.4f} ms"
        good &= not (row["engine"].startswith("sac_fast") and "missing" in row)
        rates = "".join(f"  {row[key]:.4g} {key}" for key in row if key.endswith("_per_s"))
        error = f"  error {row['error']:.2g}" if "error" in row else ""
        print(f"{row['case']:44} {row['engine']:26} {time_text}{rates}{error}")
    for row in record.get("targets", []):
        bound = f"≥ {row['at_least']:g}" if "at_least" in row else f"≤ {row['at_most']:g}"
        got = "not measured" if row["got"] is None else f"{row['got']:.4g}"
        print(
            f"{'ok    ' if row['ok'] else 'open  ' if row['ok'] is None else 'MISSED'} {row['target']}: {got} ({bound})"
        )
        good &= row["ok"] is not False
    for name, answer in record.get("sanitizer", {}).items():
        if isinstance(answer, dict):
            print(f"{name}: exit code {answer['rc']}", *(answer["end"] if answer["rc"] else []), sep="\n  ")
            good &= answer["rc"] == 0
    if "tests" in record:
        print("tests:", *record["tests"]["end"][-5:], sep="\n  ")
        good &= record["tests"]["rc"] == 0
    return good


def parts_of(step: str, options: argparse.Namespace) -> dict[str, Callable[[], Iterable[Row]]]:
    """What a step measures, by name, each in a process of its own."""
    device = options.device
    if step == "checks":
        found = {name: lambda check=check: check(device, device) for name, check in ALL_CHECKS.items()}
    elif step == "ceilings":
        return {"ceilings": lambda: [{"case": "ceilings"} | ceilings(device, options.quick)]}
    else:
        found = cases(device, device, options.quick)
    return {name: make for name, make in found.items() if not options.cases or name in options.cases}


def choose_kernel(kernel: str | None) -> None:
    if kernel is not None:
        tiles.KERNEL = kernel
        gpu_check_results.KERNELS = (kernel,)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "gpu_check.json")
    parser.add_argument("--quick", action="store_true", help="small sizes")
    parser.add_argument("--only", nargs="+", choices=STEPS, default=list(STEPS), help="steps")
    parser.add_argument(
        "--cases", nargs="+", default=[], help="names of checks and timed cases; the others are left out"
    )
    parser.add_argument("--kernel", choices=["warp", "warpgroup", "automatic"], help="of tiles; default: each of them")
    parser.add_argument("--limit", type=float, default=300, help="seconds for each check, case and process (300)")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda", help="cpu: try the script without a GPU")
    parser.add_argument("--small-case", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--part", help=argparse.SUPPRESS)
    parser.add_argument("--rows", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    known = [*ALL_CHECKS, *cases(options.device, options.device, options.quick)]
    if unknown := [name for name in options.cases if name not in known]:
        parser.error(f"--cases must be of {', '.join(known)}, got {unknown[0]}")
    return options


def main() -> int:
    options = parse()
    choose_kernel(options.kernel)
    if options.small_case:
        small_case()
        return 0
    if options.part:
        step, name = options.part.split(":")
        measure_part(parts_of(step, options)[name], options.rows)
        return 0
    if options.device == "cuda" and not torch.cuda.is_available():
        print("gpu_check: no CUDA device; nothing was checked", file=sys.stderr)
        return 1
    record: Row = {}
    if options.only != list(STEPS) and options.out.exists():
        record = json.loads(options.out.read_text())
    start = time.perf_counter()
    record |= start_result("sac_fast gpu check", torch.get_num_threads())
    record["hardware"] |= describe_device(options.device)
    code = {name: record[name] for name in ("commit", "dirty", "csrc_hash")}

    def keep(name: str, value: Any) -> None:
        # after every part: a hang in a later one does not lose it
        record[name] = value
        record["seconds"] = time.perf_counter() - start
        # steps of an earlier run stay, with the commit that they were measured at
        record.setdefault("step_code", {})[name] = code
        write_json(record, options.out)

    arguments = ["--device", options.device, *(["--quick"] if options.quick else [])]
    arguments += ["--kernel", options.kernel] if options.kernel else []
    for step in STEPS:
        if step not in options.only or (options.device == "cpu" and step in ("sanitizer", "tests")):
            continue
        if step in ("sanitizer", "tests"):
            print(f"gpu_check: {step} …", file=sys.stderr)
            keep(step, sanitize(arguments, options.limit) if step == "sanitizer" else run_tests(options.limit))
            continue
        rows: list[Row] = [row for row in record.get(step, []) if options.cases] if step != "ceilings" else []
        for name in parts_of(step, options):
            print(f"gpu_check: {step}: {name} …", file=sys.stderr)
            new, why = run_part(f"{step}:{name}", arguments, options.limit)
            if why:
                print(f"gpu_check: {step}: {name}: {why}", file=sys.stderr)
                new.append({"case": name, "engine": "sac_fast", "ok": False, "missing": why})
            measured = {(row["case"], row.get("engine")) for row in new}
            rows = [row for row in rows if (row["case"], row.get("engine")) not in measured] + new
            keep(step, rows)
    if "times" in record and "ceilings" in record:
        keep("targets", targets(record["times"], record["ceilings"][0]))
    return 0 if report(record) else 1


if __name__ == "__main__":
    sys.exit(main())
