"""`sac-fast scan` against the reference scripts' loop and a lean one (`scan_peer.py`), and 20,000 recorded outputs.

    python benchmarks/bench_scan.py [--json FILE] [--models 200 600] [--rounds 1] [--recorded 20000]

All sides scan the same small CNNs with the same 800 probes of 32×32 and give every model's distance to the first one;
the distances are compared first. Each side is a command in processes of its own, and they take turns: cold (the
files of the models are dropped from the page cache before) and warm. Peak memory is that of all processes of a side
together, shared pages counted once (PSS), sampled ten times a second; and the same without what importing torch and
sac_fast takes. Seconds are those of the work, without the imports of any process, and of the whole command; seconds
on a core are less at the mercy of a busy machine. The share of a phase is that of the seconds of all phases, over all
processes. The peer keeps all n×n matrices, so several numbers of models show how memory grows.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch

from sac_fast import ProbeSet, nearest_models, save_weights
from sac_fast.bench.results import start_result, write_json
from sac_fast.demo.architectures import plain
from sac_fast.store import ModelStore

SPEC = "sac_fast.demo.architectures:plain"
TOLERANCE = 1e-5
HERE = Path(__file__).parent


def tree(pid: int) -> list[int]:
    """A process and all below it."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return [pid]
    return [pid, *(below for child in children for below in tree(int(child)))]


def pss_bytes(pid: int) -> int:
    """Proportional memory of a process: pages that several share count by their share."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def cpu_seconds(pid: int) -> float:
    """Time that a process has had on a core so far."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def run(command: list[Any], out: Path | None = None) -> dict[str, Any]:
    """Run a command; its seconds, those of its processes on a core, and the peak of their memory together."""
    paths = os.pathsep.join(filter(None, sys.path))
    environment = os.environ | {"PYTHONPATH": paths}
    environment.pop("OMP_NUM_THREADS", None)
    start = time.perf_counter()
    with open(out or os.devnull, "wb") as sink:
        process = subprocess.Popen([str(word) for word in command], env=environment, stdout=sink)
    peak = 0
    used: dict[int, float] = {}
    done = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.1):
            pids = tree(process.pid)
            peak = max(peak, sum(map(pss_bytes, pids)))
            used.update({pid: max(used.get(pid, 0.0), cpu_seconds(pid)) for pid in pids})

    thread = threading.Thread(target=watch)
    thread.start()
    code = process.wait()
    done.set()
    thread.join()
    if code:
        raise SystemExit(f"{command[:4]} failed with {code}")
    seconds = time.perf_counter() - start
    return {"command_seconds": seconds, "command_cpu_seconds": sum(used.values()), "peak_bytes": peak}


def make_models(base: Path, models: int) -> None:
    (base / "models").mkdir()
    rng = np.random.default_rng(0)
    # Smooth pictures, so that the models differ in more than noise.
    small = rng.integers(0, 256, (800, 8, 8, 3)).repeat(4, 1).repeat(4, 2)
    images = np.clip(small + rng.integers(-30, 30, small.shape), 0, 255).astype(np.uint8)
    ProbeSet.from_arrays(images).save(base / "probes")
    with h5py.File(base / "probes.h5", "w") as file:
        file["data"] = images
    for number in range(models):
        torch.manual_seed(number)
        model = plain(10)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
        save_weights(base / "models" / f"m{number:04}.safetensors", model)


def drop_from_cache(folder: Path) -> None:
    os.sync()
    for path in folder.iterdir():
        with open(path, "rb") as handle:
            os.posix_fadvise(handle.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def peer(way: str, base: Path, turn: str) -> dict[str, Any]:
    out = base / f"{way}-{turn}.json"
    found = run([sys.executable, HERE / "scan_peer.py", base / "models", base / "probes.h5", out, way])
    return found | json.loads(out.read_text())


def ours(base: Path, turn: str) -> dict[str, Any]:
    command = [
        sys.executable,
        "-m",
        "sac_fast",
        "scan",
        base / "models",
        "--probes",
        base / "probes",
        "--quiet",
        "--json",
    ]
    command += ["--store", base / f"store-{turn}", "--architecture", SPEC, "--source", "m0000.safetensors"]
    found = run(command, base / f"ours-{turn}.lines")
    summary = json.loads((base / f"ours-{turn}.lines").read_text().splitlines()[-1])
    with ModelStore.open(base / f"store-{turn}", write=False) as store:
        distances = {row.name: row.distance for row in store.distances()}
    phases = summary["phases"]
    seconds = summary["seconds"] - phases.pop("start")
    return found | {"seconds": seconds, "phases": phases, "distances": distances}


def scan_case(base: Path, models: int, rounds: int) -> dict[str, Any]:
    make_models(base, models)
    imports = run([sys.executable, "-c", "import torch, sac_fast, time; time.sleep(0.5)"])["peak_bytes"]
    record: dict[str, Any] = {"models": models, "probes": 800, "size": 32, "imports_bytes": imports, "turns": []}
    for number in range(rounds):
        for state in ("cold", "warm"):
            turn = {"round": number, "state": state, "load_average": os.getloadavg()[0]}
            sides = {"peer": partial(peer, "scripts"), "lean": partial(peer, "lean"), "ours": ours}
            for name, side in sides.items():
                if state == "cold":
                    drop_from_cache(base / "models")
                found = side(base, f"{number}-{state}")
                found["models_per_second"] = models / found["seconds"]
                found["models_per_second_with_imports"] = models / found["command_seconds"]
                turn[name] = found
                shown = {key: value for key, value in found.items() if key != "distances"}
                print(state, name, json.dumps(shown), flush=True)
            ours_, peer_, lean_ = (turn[name].pop("distances") for name in ("ours", "peer", "lean"))
            error = max(abs(found[name] - peer_[name]) for found in (ours_, lean_) for name in peer_)
            if len(ours_) != models or not error <= TOLERANCE:
                raise SystemExit(f"distances must agree within {TOLERANCE}, got {error} for {len(ours_)} models")
            phases = turn["ours"]["phases"]
            turn |= {
                "largest_difference": error,
                "largest_distance": max(peer_.values()),
                "speed_ratio": turn["peer"]["seconds"] / turn["ours"]["seconds"],
                "speed_ratio_with_imports": turn["peer"]["command_seconds"] / turn["ours"]["command_seconds"],
                "command_over_lean": turn["ours"]["command_seconds"] / turn["lean"]["command_seconds"],
                "cpu_over_lean": turn["ours"]["command_cpu_seconds"] / turn["lean"]["command_cpu_seconds"],
                "cpu_ratio_with_imports": turn["peer"]["command_cpu_seconds"] / turn["ours"]["command_cpu_seconds"],
                "memory_ratio": turn["ours"]["peak_bytes"] / turn["peer"]["peak_bytes"],
                "memory_ratio_above_imports": (turn["ours"]["peak_bytes"] - imports)
                / (turn["peer"]["peak_bytes"] - imports),
                "shares": {phase: seconds / sum(phases.values()) for phase, seconds in phases.items()},
            }
            record["turns"].append(turn)
    for key in (
        "speed_ratio",
        "speed_ratio_with_imports",
        "cpu_ratio_with_imports",
        "memory_ratio",
        "memory_ratio_above_imports",
        "command_over_lean",
        "cpu_over_lean",
    ):
        record[key] = statistics.median(turn[key] for turn in record["turns"])
    shares = [turn["shares"]["correlate"] + turn["shares"]["store"] for turn in record["turns"]]
    record["correlate_and_store_share"] = statistics.median(shares)
    return record


def recorded_case(base: Path, models: int) -> dict[str, Any]:
    """Import recorded outputs, n = 200, k = 10, a file each, and find the nearest relatives of all."""
    folder = base / "recorded"
    folder.mkdir()
    rng = np.random.default_rng(1)
    parents = rng.standard_normal((models // 2, 200, 10)).astype(np.float32)
    for number in range(models):
        child = parents[number // 2] + 0.3 * rng.standard_normal((200, 10)).astype(np.float32)
        np.save(folder / f"m{number:05}.npy", child)
    load = os.getloadavg()[0]
    command = [
        sys.executable,
        "-m",
        "sac_fast",
        "scan",
        folder,
        "--probe-hash",
        "sha256:" + "0" * 64,
        "--quiet",
        "--json",
    ]
    found = run([*command, "--store", base / "recorded-store"], base / "recorded.lines")
    summary = json.loads((base / "recorded.lines").read_text().splitlines()[-1])
    start = time.perf_counter()
    with ModelStore.open(base / "recorded-store", write=False) as store:
        outputs = torch.stack([store.outputs(record) for record in store.records(status="done")])
    read_seconds = time.perf_counter() - start
    start = time.perf_counter()
    nearest = nearest_models(outputs, top=10, first_pass="uint8")
    nearest_seconds = time.perf_counter() - start
    siblings = torch.arange(models) ^ 1
    return {
        "models": len(outputs),
        "load_average": load,
        "import": found | {"seconds": summary["seconds"], "phases": summary["phases"]},
        "read_seconds": read_seconds,
        "nearest_seconds": nearest_seconds,
        "seconds": found["command_seconds"] + read_seconds + nearest_seconds,
        "siblings_found": float((nearest.indices[:, 0] == siblings).float().mean()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--models", type=int, nargs="*", default=[200, 600], help="numbers of CNNs; none: leave it out")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--recorded", type=int, default=20_000, help="recorded outputs; 0 leaves the case out")
    asked = parser.parse_args()
    start = time.perf_counter()
    results = start_result("sac_fast scan", 2)
    for models in asked.models:
        with tempfile.TemporaryDirectory() as folder:
            case = scan_case(Path(folder), models, asked.rounds)
        results.setdefault("scan", []).append(case)
        print(json.dumps({key: value for key, value in case.items() if key != "turns"}), flush=True)
    if asked.recorded:
        with tempfile.TemporaryDirectory() as folder:
            results["recorded"] = recorded_case(Path(folder), asked.recorded)
        print(json.dumps(results["recorded"]), flush=True)
    results["hardware"]["load_average_after"] = os.getloadavg()[0]
    if asked.json is not None:
        write_json(results | {"seconds": time.perf_counter() - start}, asked.json)


if __name__ == "__main__":
    main()
