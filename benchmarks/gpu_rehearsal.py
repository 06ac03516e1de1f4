"""The rehearsal of gpu_run.sh on a machine without a GPU: a whole run with `--device cpu`, and runs that go wrong.

    python benchmarks/gpu_rehearsal.py [--out benchmarks/results/gpu_rehearsal.json] [--only wrong hangs]

For what goes wrong a stand-in for CMake "builds" with nvcc a small module that fails to load, hangs, crashes or answers
falsely (gpu_fake_module.cu); others fail to build, never finish building, or are ended by SIGTERM or by the limit. Each
must end with the right exit code, name the part, keep the JSON of the parts before, and go on where that makes sense.
A run that --only leaves out stays as an earlier rehearsal wrote it, with the commit that it was made at. All is done in
a copy of the package, whose own module stays as it is. No figure is one of a GPU.
"""

from __future__ import annotations

import argparse
import importlib.machinery
import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from sac_fast import _backend
from sac_fast.bench.results import start_result, write_json

Row = dict[str, Any]
ROOT = Path(__file__).resolve().parents[1]
SUFFIX = importlib.machinery.EXTENSION_SUFFIXES[0]
WAIT = 600
# In place of CMake: configures nothing, and "builds" with nvcc.
CMAKE = """#!/usr/bin/env bash
[ "$1" = --build ] || exit 0
case "$REHEARSED_BUILD" in
  fails) echo 'nvcc fatal: Unsupported gpu architecture' >&2; exit 1 ;;
  hangs) sleep 3600 ;;
esac
mkdir -p "$2"
[ -e "$REHEARSED_MODULE" ] || exit 1
cp "$REHEARSED_MODULE" "$2/_C$REHEARSED_SUFFIX"
"""
FEW = ("--cases", "scales", "many", "gradients")


@dataclass(frozen=True)
class Run:
    """A run and what must come of it.

    Attributes:
        arguments: of gpu_run.sh.
        code: the exit code that is right.
        fault: of the module that is "built"; None: that of the package, which is not built again.
        build: "fails" or "hangs".
        stop: a check behind which SIGTERM is sent.
        named: texts that the printed summary must have.
        complete: checks that must have come to an end, with right results.
        broken: checks that must be named as wrong or missing, and no others.
    """

    arguments: tuple[str, ...]
    code: int
    fault: str | None = None
    build: str = ""
    stop: str | None = None
    named: tuple[str, ...] = ()
    complete: tuple[str, ...] = ()
    broken: tuple[str, ...] = ()


CPU = ("--device", "cpu")
FORMULAS = ("comparisons", "gradients")
RUNS = {
    "whole": Run(
        (*CPU, "--no-build"),
        0,
        complete=("pairs", "scales", "many", "matrices", "nearest", "jpeg", *FORMULAS, "scan"),
    ),
    "no_gpu": Run((), 2, named=("part build: 1",)),
    "build_fails": Run(CPU, 2, "wrong", "fails", named=("part build: 1",), complete=FORMULAS),
    "build_hangs": Run(
        (*CPU, "--build-limit", "10"), 2, "wrong", "hangs", named=("part build: 124",), complete=FORMULAS
    ),
    "does_not_load": Run(CPU, 2, "unloadable", named=("part load: 1",), broken=FORMULAS),
    "wrong": Run(
        (*CPU, "--", *FEW),
        1,
        "wrong",
        named=("strided views: error 0.0", "rbf σ=10: error nan", "many: exit code -6 behind the start"),
        complete=("gradients",),
        broken=("scales", "many"),
    ),
    "hangs": Run(
        (*CPU, "--", *FEW, "--limit", "40"),
        1,
        "hang",
        named=("many: ended after 40 s",),
        complete=("scales", "gradients"),
        broken=("many",),
    ),
    "terminated": Run(
        (*CPU, "--no-build", "--", *FEW), 3, stop="scales", named=("part checks: signal",), complete=("scales",)
    ),
    "out_of_time": Run(
        (*CPU, "--limit", "100", "--", *FEW, "--limit", "500"),
        1,
        "hang",
        named=("part checks: 124", "many: ended by a signal", "gradients: not reached"),
        complete=("scales",),
        broken=("many",),
    ),
}


def copy_package(folder: Path) -> Path:
    """A copy of what a run needs, where a module may be replaced."""
    for name in ("sac_fast", "benchmarks"):
        left_out = shutil.ignore_patterns("__pycache__", "results", "literature", "pretrained")
        shutil.copytree(ROOT / name, folder / name, ignore=left_out)
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def compile_faulty(folder: Path, *definitions: str) -> Path:
    """The module with faults, compiled by nvcc; by the C++ compiler where there is none."""
    out = folder / f"{''.join(definitions) or 'faulty'}{SUFFIX}"
    options = ["-shared", "-o", out, "-I", sysconfig.get_paths()["include"], *(f"-D{name}" for name in definitions)]
    source = ROOT / "benchmarks" / "gpu_fake_module.cu"
    nvcc = shutil.which("nvcc")
    command = [nvcc, "-Xcompiler", "-fPIC"] if nvcc else ["c++", "-x", "c++", "-fPIC", "-D__global__="]
    subprocess.run([*command, *options, source], check=True, capture_output=True)
    return out


def rehearse(name: str) -> Row:
    with tempfile.TemporaryDirectory() as folder:
        return rehearse_in(Path(folder), RUNS[name])


def rehearse_in(folder: Path, wanted: Run) -> Row:
    """One of the runs: what came of it, and `faults`, what should have come and did not."""
    copy, out, tools = copy_package(folder / "copy"), folder / "out", folder / "tools"
    tools.mkdir()
    cmake = tools / "cmake"
    cmake.write_text(CMAKE)
    cmake.chmod(0o755)
    environment = os.environ | {"PYTHON": sys.executable, "PATH": f"{tools}:{os.environ['PATH']}", "PYTHONPATH": ""}
    environment |= {"REHEARSED_BUILD": wanted.build, "REHEARSED_SUFFIX": SUFFIX}
    if wanted.fault:
        module = compile_faulty(folder, *(["UNLOADABLE"] if wanted.fault == "unloadable" else []))
        true = Path(_backend.compiled().__file__ or "")
        environment |= {
            "REHEARSED_MODULE": str(module),
            "SAC_FAST_TRUE_MODULE": str(true),
            "SAC_FAST_FAULT": wanted.fault,
        }
    start = time.perf_counter()
    process = subprocess.Popen(
        ["bash", copy / "benchmarks" / "gpu_run.sh", "--out", out, *wanted.arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        if wanted.stop:
            wait_for(out, wanted.stop, process)
            process.send_signal(signal.SIGTERM)
        printed = process.communicate(timeout=WAIT)[0]
    finally:
        process.terminate()
    found: Row = {
        "code": process.returncode,
        "right_code": wanted.code,
        "seconds": round(time.perf_counter() - start, 1),
    }
    found["parts"] = [json.loads(line) for line in (out / "parts.jsonl").read_text().splitlines()]
    record = json.loads((out / "gpu_check.json").read_text()) if (out / "gpu_check.json").exists() else {}
    found |= {"ran_on_gpu": record.get("ran_on_gpu"), "steps": record.get("parts", {})}
    found["printed"] = printed.splitlines()[-30:]
    found["left_running"] = [line for line in processes() if str(copy) in line or str(out) in line]
    found["faults"] = list(faults_of(wanted, found, printed))
    # The folder has another name in every run.
    shown: Row = json.loads(json.dumps(found, ensure_ascii=False).replace(str(folder), "FOLDER"))
    return shown


def wait_for(out: Path, check: str, process: subprocess.Popen[str]) -> None:
    """Wait until the check behind this one runs."""
    until = time.monotonic() + WAIT
    while process.poll() is None and time.monotonic() < until:
        try:
            parts = json.loads((out / "gpu_check.json").read_text())["parts"]["checks"]
        except (OSError, KeyError):
            parts = []
        if any(part["part"] == check for part in parts):
            return
        time.sleep(0.1)


def processes() -> Iterator[str]:
    """The command lines of all processes."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            yield path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue


def faults_of(wanted: Run, found: Row, printed: str) -> Iterator[str]:
    if found["code"] != wanted.code:
        yield f"exit code {found['code']}, right is {wanted.code}"
    for text in wanted.named:
        if text not in printed:
            yield f"not printed: {text}"
    checks = {part["part"]: part for part in found["steps"].get("checks", [])}
    good = {name for name, part in checks.items() if part["rows"] and not part["wrong"] and not part["missing"]}
    yield from (f"lost or wrong: {name}" for name in wanted.complete if name not in good)
    if wanted.broken and (bad := set(checks) - good) != set(wanted.broken):
        yield f"named as wrong or missing: {sorted(bad)}, right are {sorted(wanted.broken)}"
    if found["ran_on_gpu"]:
        yield "says that a GPU ran it"
    yield from (f"still runs: {line[:200]}" for line in found["left_running"])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "gpu_rehearsal.json")
    parser.add_argument("--only", nargs="+", choices=RUNS, default=list(RUNS))
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time; most of the time of some is waiting (1)")
    options = parser.parse_args()
    if torch.cuda.is_available():
        parser.error("a GPU is here: run benchmarks/gpu_run.sh itself")
    start = time.perf_counter()
    result = start_result("sac_fast gpu rehearsal on a CPU", torch.get_num_threads())
    result |= {"ran_on_gpu": False, "nvcc": shutil.which("nvcc") is not None, "runs": {}}
    if options.only != list(RUNS) and options.out.exists():
        result["runs"] = json.loads(options.out.read_text())["runs"]
    code = {name: result[name] for name in ("commit", "dirty", "csrc_hash")}
    with ThreadPoolExecutor(options.jobs) as pool:
        begun = {pool.submit(rehearse, name): name for name in options.only}
        for future in as_completed(begun):
            name, run = begun[future], future.result()
            result["runs"][name] = run | code | {"jobs": options.jobs}
            result["seconds"] = time.perf_counter() - start
            write_json(result, options.out)
            print(f"{name}: exit code {run['code']} in {run['seconds']} s", *run["faults"], sep="\n  ", flush=True)
    return 1 if any(run["faults"] for run in result["runs"].values()) else 0


if __name__ == "__main__":
    sys.exit(main())
