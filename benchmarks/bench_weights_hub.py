"""All pairs of a hub's checkpoints of about one million parameters, made on demand, the last eight kept.

    python benchmarks/bench_weights_hub.py [--json FILE] [--models 100 1000 10000]

Of every ten models five are of one family (an original, a fine-tuned copy, one pruned by 90 %, one of 8 bits, one in
float16) and five stand alone; half of the hub has another architecture. A search must find the ten related pairs of
every family and no other. Seconds are those of the processor, without what it takes to make the checkpoints. The growth
exponent of each phase is that between the smallest and the largest hub, and seconds of 10,000 models are extrapolated
phase by phase: reading and tests by the number of models, the sweep by its square.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import math
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from weights_copies import add_noise, prune, quantise

from sac_fast.bench.results import start_result, write_json
from sac_fast.lineage.weights_cache import open_cache
from sac_fast.lineage.weights_relatives import HubSearch

TARGET = 10_000
FAMILY = ("original", "fine-tuned", "pruned", "8 bits", "float16")
SINGLE = 5
CONVOLUTIONS = {
    "conv1.weight": (64, 3, 3, 3),
    "conv2.weight": (128, 64, 3, 3),
    "conv3.weight": (128, 128, 3, 3),
    "conv4.weight": (256, 128, 3, 3),
    "fc1.weight": (1024, 256),
    "fc2.weight": (256, 1024),
    "fc3.weight": (10, 256),
}
DENSE = {
    f"layers.{number}.weight": shape
    for number, shape in enumerate([(512, 784), (512, 512), (384, 512), (384, 384), (128, 384), (10, 128)])
}
CHANGES = {
    "original": lambda array, rng: array,
    "fine-tuned": add_noise,
    "pruned": prune,
    "8 bits": quantise(127),
    "float16": lambda array, rng: array.astype(np.float16),
}
PHASES = {"sketch": 1, "sweep": 2, "test": 1}  # and the power of the number of models by which each is extrapolated
ALPHA = 1e-3
making = 0.0  # seconds of the processor that went into checkpoints


@functools.lru_cache(maxsize=8)
def make(seed: int, kind: str) -> dict[str, np.ndarray[Any, Any]]:
    """One checkpoint."""
    global making
    started = time.process_time()
    rng = np.random.default_rng(seed)
    shapes = CONVOLUTIONS if seed % 2 else DENSE
    scaled = {
        name: rng.standard_normal(shape, dtype=np.float32) / np.float32(math.sqrt(math.prod(shape[1:])))
        for name, shape in shapes.items()
    }
    state = {name: CHANGES[kind](array, rng) for name, array in scaled.items()}
    making += time.process_time() - started
    return state


def make_hub(count: int) -> tuple[dict[str, Any], set[frozenset[str]]]:
    """Checkpoints on demand by name, and the pairs that are related."""
    hub: dict[str, Any] = {}
    related: set[frozenset[str]] = set()
    seeds = itertools.count(1)
    while len(hub) < count:
        seed = next(seeds)
        family = [f"{seed} {kind}" for kind in FAMILY]
        hub |= {name: partial(make, seed, kind) for name, kind in zip(family, FAMILY, strict=True)}
        related |= set(map(frozenset, itertools.combinations(family, 2)))
        for _ in range(SINGLE):
            seed = next(seeds)
            hub[f"{seed} original"] = partial(make, seed, "original")
    return hub, related


def measure(count: int) -> dict[str, Any]:
    """One search, each phase timed; the result is checked first."""
    hub, related = make_hub(count)
    seconds: dict[str, float] = {}
    with open_cache(None) as cache:
        search = HubSearch(hub, None, cache, progress=True)
        for phase in PHASES:
            before, started = making, time.process_time()
            getattr(search, phase)()
            seconds[phase] = time.process_time() - started - (making - before)
        found = search.finish(ALPHA)
    pairs = {frozenset((pair.a, pair.b)) for pair in found.pairs}
    assert not found.failures, found.failures
    kept = sum(vector.nbytes for sketch in search.sketches.values() for vector in sketch.vectors.values())
    leaves = [pair.leaf.split(" ", 1)[1] for pair in found.pairs if pair.leaf is not None]
    return {
        "models": len(hub),
        "pairs": found.tests,
        "candidates": found.candidates,
        "related": len(related),
        "found": len(pairs & related),
        "false": len(pairs - related),
        "largest_p_holm": max(pair.p_holm for pair in found.pairs),
        "leaves": {kind: leaves.count(kind) for kind in FAMILY},
        "sketch_bytes_per_model": kept / len(hub),
        "processor_seconds": seconds,
    }


def extrapolate(hubs: list[dict[str, Any]]) -> dict[str, Any]:
    """Growth between the smallest and the largest hub, and seconds of the processor for the hub that is aimed at."""
    first, last = ({**hub["processor_seconds"], "models": hub["models"]} for hub in (hubs[0], hubs[-1]))
    exponents = None
    if len(hubs) > 1:
        ratio = math.log(last["models"] / first["models"])
        totals = [sum(seconds[phase] for phase in PHASES) for seconds in (first, last)]
        exponents = {phase: math.log(last[phase] / first[phase]) / ratio for phase in PHASES}
        exponents["all"] = math.log(totals[1] / totals[0]) / ratio
    seconds = {phase: last[phase] * (TARGET / last["models"]) ** power for phase, power in PHASES.items()}
    return {
        "growth_exponents": exponents,
        "extrapolated": {"models": TARGET, "processor_seconds": seconds | {"all": sum(seconds.values())}},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, nargs="+", default=[100, 1000, 10_000])
    parser.add_argument("--json", type=Path, help="write the result there")
    options = parser.parse_args()
    torch.set_num_threads(1)
    result = start_result("sac_fast benchmark of a hub of weights", 1)
    started = time.perf_counter()
    result |= {"alpha": ALPHA, "values_per_model": sum(map(math.prod, CONVOLUTIONS.values())), "hubs": []}
    for count in sorted(options.models):
        result["hubs"].append(measure(count))
        print(result["hubs"][-1], flush=True)
        result |= extrapolate(result["hubs"])
        result["seconds"] = time.perf_counter() - started
        if options.json is not None:  # after each: a larger hub may be stopped
            write_json(result, options.json)
    print({name: result[name] for name in ("growth_exponents", "extrapolated")})


if __name__ == "__main__":
    main()
