"""The reference scripts' way against `sac_fast.compat`: per function, and for the evaluation of many models.

    python benchmarks/bench_dropin.py [--json FILE] [--quick]

The scripts' way is in `dropin_peer.py`. Models are recorded outputs: random class centres for the source, mixed with
each model's own outputs and noise, 1 source + 105 suspects in the proportions of SAC_JC's `SAC.py` (20 extracted by
probabilities, 20 by labels, 20 independent, 20 adversarially trained, 20 fine-tuned, 5 pruned). Results are compared
first. The scripts compute them once, so the first run is reported besides the median of repeated ones, which find
their memory mapped already. Each side of an evaluation runs in its own process, whose peak resident memory
(ru_maxrss) is reported as such and without what Python, PyTorch and the outputs took before.

Where the scripts' matrices do not fit into memory, that side runs with fewer models, and its figures for all of them
are extrapolated along the line through two such runs; the report says so.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dropin_peer
import torch
from torch import Tensor, nn

from sac_fast.bench.results import start_result, write_json
from sac_fast.compat import output_differences, sac, sac_jc

GROUPS = {"extracted_p": 20, "extracted_l": 20, "independent": 20, "adversarial": 20, "finetuned": 20, "pruned": 5}
# Share of the source's outputs in a model's own, made up so that the AUCs are neither 0.5 nor all 1.
SOURCE_SHARE = {
    "extracted_p": 0.55,
    "extracted_l": 0.42,
    "independent": 0.38,
    "adversarial": 0.4,
    "finetuned": 0.95,
    "pruned": 0.9,
}
SUSPECTS = sum(GROUPS.values())
FIGURES = ("seconds", "first_seconds", "peak_bytes", "added_bytes")


# --- per function ----------------------------------------------------------------------------------------


def median_seconds(function: Callable[[], Any], repeats: int) -> float:
    function()
    function()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def largest_difference(ours: Any, theirs: Any) -> float:
    ours, theirs = (torch.as_tensor(value, dtype=torch.float64) for value in (ours, theirs))
    if ours.shape != theirs.shape:
        raise SystemExit(f"shapes differ: {tuple(ours.shape)} and {tuple(theirs.shape)}")
    return float((ours - theirs).abs().max())


def per_function(n: int, k: int, repeats: int) -> list[dict[str, Any]]:
    torch.manual_seed(0)
    a, b = torch.randn(n, k), torch.randn(n, k)
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 64), nn.ReLU(), nn.Linear(64, k))
    images, labels = torch.rand(n, 3, 8, 8), torch.randint(k, (n,))
    loader = list(zip(images.split(16), labels.split(16), strict=True))
    near, far = torch.rand(20), torch.rand(20) + 0.3
    cases: list[tuple[str, Callable[..., Any], Callable[..., Any], tuple[Any, ...]]] = [
        ("sac_jc.correlation", dropin_peer.correlation, sac_jc.correlation, (a, a)),
        ("sac.correlation", dropin_peer.half_correlation, sac.correlation, (a, a)),
        ("pairwise_euclid_distance", dropin_peer.pairwise, sac_jc.pairwise_euclid_distance, (a,)),
        ("correlation_dist", dropin_peer.correlation_dist, sac_jc.correlation_dist, (a,)),
        ("sac_jc.cal_cor", dropin_peer.cal_cor, sac_jc.cal_cor, (model, loader)),
        ("sac.cal_cor_onehot", dropin_peer.cal_cor_onehot, sac.cal_cor_onehot, (model, loader)),
        ("output_to_label", dropin_peer.output_to_label, sac.output_to_label, (a,)),
        ("cal_correct", dropin_peer.cal_correct, sac_jc.cal_correct, (model, loader)),
        ("feature", dropin_peer.feature, sac_jc.feature, (model, loader)),
        ("similarity", dropin_peer.similarity, sac_jc.similarity, (a, b)),
        ("calculate_auc", dropin_peer.calculate_auc, sac_jc.calculate_auc, (near, far)),
    ]
    rows = []
    for name, theirs, ours, arguments in cases:
        result, expected = ours(*arguments), theirs(*arguments)
        difference = largest_difference(result, expected)
        scale = max(1.0, float(torch.as_tensor(expected).abs().max()))
        if not difference <= 1e-6 * scale:
            raise SystemExit(f"{name}: results differ by {difference}")
        peer, drop_in = (median_seconds(functools.partial(f, *arguments), repeats) for f in (theirs, ours))
        row = {"function": name, "n": n, "k": k, "peer_s": peer, "drop_in_s": drop_in, "ratio": peer / drop_in}
        rows.append({**row, "largest_difference": difference})
        print(f"{name:26} {peer * 1e3:9.3f} ms {drop_in * 1e3:9.3f} ms {peer / drop_in:7.2f}x   {difference:.1e}")
    return rows


# --- the whole evaluation --------------------------------------------------------------------------------


def recorded_outputs(n: int, k: int, suspects: int) -> list[Tensor]:
    """Outputs of the source and of the first `suspects` models."""
    generator = torch.Generator().manual_seed(1)
    draw = lambda *shape: torch.randn(*shape, generator=generator)  # noqa: E731
    source = 3 * draw(k, k)[torch.randint(k, (n,), generator=generator)] + draw(n, k)
    centres, labels = 3 * draw(k, k), torch.randint(k, (n,), generator=generator)
    outputs = [source]
    for group, count in GROUPS.items():
        for _ in range(count):
            share = SOURCE_SHARE[group] + 0.02 * float(draw(1))
            outputs.append(share * source + (1 - share) * (centres[labels] + draw(n, k)))
    return outputs[: suspects + 1]


def aucs(differences: Tensor, calculate: Callable[[Any, Any], float]) -> dict[str, float]:
    parts = dict(zip(GROUPS, differences.split(list(GROUPS.values())), strict=True))
    return {group: calculate(parts[group], parts["independent"]) for group in GROUPS if group != "independent"}


def resident_peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def side(name: str, n: int, k: int, suspects: int, repeats: int) -> None:
    """One side in this process: prints JSON."""
    outputs = recorded_outputs(n, k, suspects)
    run: Callable[[], Tensor] = {
        "peer": lambda: dropin_peer.differences(outputs),
        "drop_in": lambda: output_differences(outputs),
    }[name]
    small = recorded_outputs(64, k, 2)  # loads what is loaded late, before the memory is read
    output_differences(small)
    before = resident_peak()
    start = time.perf_counter()
    differences = run()
    first = time.perf_counter() - start
    peak = resident_peak()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    result: dict[str, Any] = {
        "seconds": statistics.median(times),
        "first_seconds": first,
        "peak_bytes": peak,
        "added_bytes": peak - before,
        "differences": [float(value) for value in differences.double()],
    }
    if suspects == SUSPECTS:
        result["aucs"] = aucs(differences, dropin_peer.calculate_auc if name == "peer" else sac_jc.calculate_auc)
    print(json.dumps(result))


def sides(n: int, k: int, runs: dict[str, tuple[int, int]], rounds: int) -> dict[str, dict[str, Any]]:
    """Each side, (suspects, repeats), in turns, so that a busy machine is busy for both; medians over the rounds."""
    results: dict[str, list[dict[str, Any]]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, (suspects, repeats) in runs.items():
            results[name].append(in_own_process(name, n, k, suspects, repeats))
    return {
        name: {**rows[0], **{key: statistics.median(row[key] for row in rows) for key in FIGURES}}
        for name, rows in results.items()
    }


def in_own_process(name: str, n: int, k: int, suspects: int, repeats: int) -> dict[str, Any]:
    command = [sys.executable, __file__, "--side", name, *map(str, (n, k, suspects, repeats))]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def line_through(small: tuple[int, float], large: tuple[int, float], at: int) -> float:
    slope = (large[1] - small[1]) / (large[0] - small[0])
    return large[1] + slope * (at - large[0])


def evaluation(n: int, k: int, repeats: int, peer_repeats: int, rounds: int, memory: int) -> dict[str, Any]:
    needed = (SUSPECTS + 4) * n * n * 4
    suspects = SUSPECTS if needed < 0.8 * memory else max(10, int(0.35 * memory / (n * n * 4)) // 10 * 10)
    suspects = min(suspects, SUSPECTS)
    both = sides(n, k, {"drop_in": (SUSPECTS, repeats), "peer": (suspects, peer_repeats)}, rounds)
    ours, theirs = both["drop_in"], both["peer"]
    difference = max(abs(a - b) for a, b in zip(ours["differences"], theirs["differences"], strict=False))
    if not difference <= 1e-6:
        raise SystemExit(f"n = {n}: the evaluations differ by {difference}")
    extrapolated = suspects < SUSPECTS
    peer = {key: theirs[key] for key in FIGURES}
    if extrapolated:
        half = in_own_process("peer", n, k, suspects // 2, peer_repeats)
        for key in peer:
            peer[key] = line_through((suspects // 2, half[key]), (suspects, theirs[key]), SUSPECTS)
    row = {
        "n": n,
        "k": k,
        "suspects": SUSPECTS,
        "suspects_the_peer_ran": suspects,
        "peer_extrapolated": extrapolated,
        "peer": peer,
        "peer_as_run": {key: theirs[key] for key in peer},
        "drop_in": {key: ours[key] for key in peer},
        "ratio": peer["seconds"] / ours["seconds"],
        "first_ratio": peer["first_seconds"] / ours["first_seconds"],
        "memory_share": ours["peak_bytes"] / peer["peak_bytes"],
        "added_memory_share": ours["added_bytes"] / peer["added_bytes"],
        "largest_difference": difference,
        "aucs": ours["aucs"],
        "peer_aucs": theirs.get("aucs"),
    }
    if not extrapolated and row["aucs"] != row["peer_aucs"]:
        raise SystemExit(f"n = {n}: AUCs differ: {row['aucs']} and {row['peer_aucs']}")
    note = f" (extrapolated from {suspects // 2} and {suspects} suspects)" if extrapolated else ""
    print(f"\n1 source + {SUSPECTS} suspects, n = {n:,}, k = {k}")
    for label, figures, remark in (("scripts' way", peer, note), ("drop-in", ours, "")):
        print(
            f"  {label:12} {figures['seconds']:10.4f} s repeated, {figures['first_seconds']:10.4f} s the first time,",
            end="",
        )
        print(f" peak {figures['peak_bytes'] / 2**20:8,.0f} MiB{remark}")
    print(f"  {row['ratio']:.1f}x faster repeated, {row['first_ratio']:.1f}x the first time", end="")
    print(f"; {row['memory_share']:.1%} of the peak memory", end="")
    print(f", {row['added_memory_share']:.2%} of what the run adds; largest difference {difference:.1e}")
    print(f"  AUCs {ours['aucs']}" + (" on both sides" if not extrapolated else " (drop-in only)"))
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--quick", action="store_true", help="n = 800 only, fewer repeats")
    parser.add_argument("--memory-gib", type=float, help="memory that the scripts' way may take; default: what is free")
    parser.add_argument("--threads", type=int, help="threads of both sides; default: PyTorch's own number")
    parser.add_argument("--side", nargs=5, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
        os.environ["OMP_NUM_THREADS"] = str(options.threads)  # for the processes of the two sides
    if options.side:
        side(options.side[0], *map(int, options.side[1:]))
        return
    pages = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    memory = int(options.memory_gib * 2**30) if options.memory_gib else pages
    start = time.perf_counter()
    result = start_result("sac_fast drop-in", torch.get_num_threads())
    print(json.dumps(result["hardware"]))
    print(f"\nn = 800, k = 7{'':13} {'scripts':>9}    {'drop-in':>9}       ratio   largest difference")
    repeats = 5 if options.quick else 21
    result["functions"] = per_function(800, 7, repeats)
    result["evaluations"] = [evaluation(800, 7, repeats, repeats, 5, memory)]
    if not options.quick:
        result["evaluations"].append(evaluation(8000, 7, 2, 1, 1, memory))
    if options.json:
        write_json(result | {"seconds": time.perf_counter() - start}, options.json)


if __name__ == "__main__":
    main()
