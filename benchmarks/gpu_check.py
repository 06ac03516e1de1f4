"""Everything that a GPU must show, in one command that builds nothing.

    python benchmarks/gpu_check.py [--out benchmarks/results/gpu_check.json] [--sizes headline] [--only times]
                                   [--cases pair512] [--kernel warp] [--limit 300]

Steps: checks (every op with a CUDA kernel against float64: metric × dtype × precision × awkward size; what goes through
torch on the device, gradients among it; a scan against the CPU's), ceilings (device copy, matrix products), times (the
ops beside PyTorch and libraries on the same GPU: CUDA events, warm-up, medians, inputs in turns that are
together larger than L2), sanitizer (a small case under compute-sanitizer, where it exists), tests (those marked
`cuda`). Writes one JSON, after each check and case; a step named by --only leaves what an earlier run wrote of the
others. Exit code 1: something is wrong, a target is missed, or there is
no GPU.

Each check and each case has a process of its own, with a limit: a kernel that hangs, or that leaves the device's
context unusable, costs its own rows and no others. SIGTERM ends the one that runs, whose rows so far are written too.
The JSON states under `planned` which parts each step has, and under `parts` which came to an end, in how many seconds.

`--device cpu` rehearses the script. Its JSON is of another kind ("rehearsal"), says `ran_on_gpu: false`, is never added
to one of a GPU, and is judged by no target.
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
from gpu_check_formulas import FORMULAS
from gpu_check_parts import end_on_signal, is_ended, measure_part, run, run_part
from gpu_check_report import report
from gpu_check_results import CHECKS, small_case
from gpu_check_times import SIZES, cases, ceilings, targets
from gpu_scan import check_scan

from sac_fast import capabilities
from sac_fast.bench.results import start_result, write_json
from sac_fast.ops.cuda import tiles

ROOT = Path(__file__).resolve().parents[1]
STEPS = ("checks", "ceilings", "times", "sanitizer", "tests")
Row = dict[str, Any]
ALL_CHECKS: dict[str, Callable[[str, str], Iterable[Row]]] = {
    **CHECKS,
    **FORMULAS,
    "scan": lambda device, _: check_scan(device, 60 if device == "cuda" else 6),
}


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
    found["load_error"] = capabilities()["load_error"]
    if device == "cuda":
        properties = torch.cuda.get_device_properties(0)
        found |= {"gpu": properties.name, "memory": properties.total_memory, "sms": properties.multi_processor_count}
        query = "--query-gpu=driver_version,clocks.sm,clocks.mem,clocks.max.sm,power.limit"
        answer = subprocess.run(["nvidia-smi", query, "--format=csv"], capture_output=True, text=True)
        found["nvidia_smi"] = answer.stdout.strip().splitlines()
    return found


def parts_of(step: str, options: argparse.Namespace) -> dict[str, Callable[[], Iterable[Row]]]:
    """What a step measures, by name, each in a process of its own."""
    device = options.device
    if step == "checks":
        found = {name: lambda check=check: check(device, device) for name, check in ALL_CHECKS.items()}
    elif step == "ceilings":
        return {"ceilings": lambda: [{"case": "ceilings"} | ceilings(device, options.sizes == "quick")]}
    else:
        found = cases(device, device, options.sizes)
    return {name: make for name, make in found.items() if not options.cases or name in options.cases}


def choose_kernel(kernel: str | None) -> None:
    if kernel is not None:
        tiles.KERNEL = kernel
        gpu_check_results.KERNELS = (kernel,)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="default: benchmarks/results/gpu_check.json; with --device cpu needed")
    parser.add_argument("--sizes", choices=SIZES, default="full", help="of the timed cases; quick: tiny, headline: few")
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
    if options.out is None and not options.part:
        if options.device == "cpu":
            parser.error("--device cpu needs --out: a rehearsal is no result of a GPU")
        options.out = ROOT / "benchmarks" / "results" / "gpu_check.json"
    known = [*ALL_CHECKS, *cases(options.device, options.device, options.sizes)]
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
    end_on_signal()
    record = begin(options)
    start = time.perf_counter()
    code = {name: record[name] for name in ("commit", "dirty", "csrc_hash")}

    def keep(name: str, value: Any) -> None:
        # after every part: a hang in a later one does not lose it
        record[name] = value
        record["seconds"] = time.perf_counter() - start
        # steps of an earlier run stay, with the commit that they were measured at
        record["step_code"][name] = code
        write_json(record, options.out)

    arguments = ["--device", options.device, "--sizes", options.sizes]
    arguments += ["--kernel", options.kernel] if options.kernel else []
    for step in STEPS:
        if step not in options.only or (options.device == "cpu" and step in ("sanitizer", "tests")):
            continue
        if step in ("sanitizer", "tests") and not is_ended():
            print(f"gpu_check: {step} …", file=sys.stderr)
            keep(step, sanitize(arguments, options.limit) if step == "sanitizer" else run_tests(options.limit))
        elif step not in ("sanitizer", "tests"):
            run_step(step, options, arguments, record, keep)
    if options.device == "cuda" and "times" in record and record.get("ceilings", [{}])[0].get("bf16_flop_per_s"):
        keep("targets", targets(record["times"], record["ceilings"][0]))
    good = report(record)
    return 0 if good and not is_ended() else 1


def begin(options: argparse.Namespace) -> Row:
    """The record of this run, with the steps of an earlier one on the same kind of device that --only leaves out."""
    on_gpu, record = options.device == "cuda", {}
    if options.only != list(STEPS) and options.out.exists():
        record = json.loads(options.out.read_text())
        if record.get("ran_on_gpu") is not on_gpu:
            there = "a rehearsal on a CPU" if on_gpu else "a run on a GPU"
            raise SystemExit(f"gpu_check: {options.out} holds {there}, which this run is not added to")
    kind = "sac_fast gpu check" if on_gpu else "sac_fast gpu rehearsal on a CPU"
    record |= start_result(kind, torch.get_num_threads()) | {"ran_on_gpu": on_gpu}
    record["hardware"] |= describe_device(options.device)
    for name in ("step_code", "planned", "parts"):
        record.setdefault(name, {})
    return record


def run_step(
    step: str, options: argparse.Namespace, arguments: list[str], record: Row, keep: Callable[[str, Any], None]
) -> None:
    """Measure the parts of a step, each in its process, and keep the rows and how it went after each."""
    rows: list[Row] = [row for row in record.get(step, []) if options.cases] if step != "ceilings" else []
    names = list(parts_of(step, options))
    record["planned"][step], record["parts"][step] = names, []
    keep(step, rows)
    for name in names:
        if is_ended():
            print(f"gpu_check: {step}: ended by a signal before {name}", file=sys.stderr)
            return
        print(f"gpu_check: {step}: {name} …", file=sys.stderr)
        start = time.perf_counter()
        new, why = run_part(f"{step}:{name}", arguments, options.limit)
        if why:
            print(f"gpu_check: {step}: {name}: {why}", file=sys.stderr)
            new.append({"case": name, "engine": "sac_fast", "ok": False, "missing": why})
        seconds = round(time.perf_counter() - start, 2)
        wrong = sum(not row.get("ok", True) for row in new)
        record["parts"][step].append(
            {"part": name, "seconds": seconds, "rows": len(new), "wrong": wrong, "missing": why}
        )
        # also what an earlier run could not measure
        measured = {(name, "sac_fast"), *((row["case"], row.get("engine")) for row in new)}
        rows = [row for row in rows if (row["case"], row.get("engine")) not in measured] + new
        keep(step, rows)


if __name__ == "__main__":
    sys.exit(main())
