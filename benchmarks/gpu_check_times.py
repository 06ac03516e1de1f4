"""What gpu_check.py times: the ops beside PyTorch and libraries on the same GPU, and the targets they are to reach."""

from __future__ import annotations

import importlib
import statistics
import time
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any

import torch
from torch import Tensor

import sac_fast
from sac_fast.bench.peers import naive, naive_loop, naive_loop_source_kept, tiled
from sac_fast.ops import reference

Row = dict[str, Any]
L2_BYTES = 192 << 20  # more than any card has today
SIZES = ("quick", "headline", "full")


def random(*shape: int, seed: int, device: str) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator(device).manual_seed(seed), device=device)


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
    kinds = (("bf16", torch.bfloat16, False), ("fp16", torch.float16, False), ("tf32", torch.float32, True))
    for name, dtype, tf32 in (*kinds, ("fp32", torch.float32, False)):
        torch.backends.cuda.matmul.allow_tf32 = tf32
        a, b = (random(side, side, seed=s, device=device).to(dtype) for s in (1, 2))
        found[f"{name}_flop_per_s"] = 2 * side**3 / timed([lambda a=a, b=b: a @ b], device, 10)
    torch.backends.cuda.matmul.allow_tf32 = False
    return found


def row_of(case: str, engine: str, make: Callable[[], float], **rates: float) -> Row:
    """A measured row, or why there is none; `rates` are amounts, which become amounts per second."""
    try:
        seconds = make()
    except Exception as error:  # a peer may fail in any way; the others are measured all the same
        free()
        return {"case": case, "engine": engine, "missing": f"{type(error).__name__}: {str(error).splitlines()[:1]}"}
    row = {"case": case, "engine": engine, "seconds": seconds}
    if torch.cuda.is_available():
        row["peak_bytes"] = torch.cuda.max_memory_allocated()
    free()
    return row | {f"{name}_per_s": amount / seconds for name, amount in rates.items()}


def free() -> None:
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def times_of_pair(n: int, k: int, device: str, backend: str, repeats: int) -> Iterator[Row]:
    """A pair by our levels and by PyTorch; errors against the float64 definition, on the device, of the same inputs."""
    sets = max(2, min(64, -(-L2_BYTES // (8 * n * k))))
    data = [tuple(random(n, k, seed=2 * s + i, device=device) for i in (0, 1)) for s in range(sets)]
    case, padded = f"pair n={n} k={k}", -(-k // 16) * 16
    exact = float(reference.correlation_distance(data[0][0].double(), data[0][1].double()))
    for precision, products in (("highest", 3), ("medium", 1)):
        options = {"precision": precision, "backend": backend}
        calls = [lambda p=p, o=options: sac_fast.correlation_distance(*p, **o) for p in data]
        # half of the tiles of two models, all issued products
        flop = 2.0 * n * n * padded * products
        row = row_of(case, f"sac_fast {precision}", lambda c=calls: timed(c, device, repeats), issued_flop=flop)
        yield row | {"error": abs(float(calls[0]()) - exact)}
    calls = [lambda p=p: sac_fast.correlation_distance(*p, metric="rbf", backend=backend) for p in data]
    yield row_of(case, "sac_fast rbf", lambda: timed(calls, device, repeats))
    few = min(repeats, 5)
    for tf32 in (False, True):
        torch.backends.cuda.matmul.allow_tf32 = tf32
        suffix = " TF32" if tf32 else ""
        for name, way in (("naive", naive), ("tiled", tiled)):
            peers = [lambda p=p, w=way: w(*p, "cosine") for p in data[:2]]
            yield row_of(case, name + suffix, lambda c=peers: timed(c, device, few))
    for tf32 in (False, True):  # last: compiling takes longest, and may fail
        torch.backends.cuda.matmul.allow_tf32 = tf32
        compiled = torch.compile(naive, dynamic=False)
        peers = [lambda p=p, w=compiled: w(*p, "cosine") for p in data[:2]]
        yield row_of(case, "torch.compile(naive)" + " TF32" * tf32, lambda c=peers: timed(c, device, few))
    torch.backends.cuda.matmul.allow_tf32 = False


def times_of_large_pair(n: int, k: int, device: str, backend: str) -> Iterator[Row]:
    """One pair in slabs; the error is that of its first 20,000 probes."""
    a, b = (random(n, k, seed=s, device=device) for s in (1, 2))
    few = min(n, 20_000)
    exact = float(reference.correlation_distance(a[:few].double(), b[:few].double()))
    for precision in ("highest", "medium"):
        options = {"precision": precision, "backend": backend}
        error = abs(float(sac_fast.correlation_distance(a[:few], b[:few], **options)) - exact)
        free()
        call = lambda o=options: sac_fast.correlation_distance(a, b, **o)  # noqa: E731
        flop = 2.0 * n * n * (-(-k // 16) * 16) * (3 if precision == "highest" else 1)
        row = row_of(f"pair n={n} k={k}", f"sac_fast {precision}", lambda c=call: once(c, device), issued_flop=flop)
        yield row | {"error": error}


def once(call: Callable[[], Any], device: str) -> float:
    """Seconds of one call, for calls of seconds."""
    if device == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    call()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def times_of_suspects(m: int, n: int, k: int, device: str, backend: str) -> Iterator[Row]:
    source, suspects = random(n, k, seed=0, device=device), random(m, n, k, seed=1, device=device)
    case = f"one source, {m} suspects, n={n} k={k}"
    exact = reference.correlation_distances(source.double(), list(suspects[:5].double()))
    for precision in ("highest", "medium"):
        options = {"precision": precision, "backend": backend}
        call = lambda o=options: sac_fast.correlation_distances(source, suspects, **o)  # noqa: E731
        row = row_of(case, f"sac_fast {precision}", lambda c=call: timed([c], device, 5))
        yield row | {"error": float((call()[:5].double() - exact).abs().max())}
    for tf32 in (False, True):
        torch.backends.cuda.matmul.allow_tf32 = tf32
        suffix = " TF32" if tf32 else ""
        for name, way in (("naive loop", naive_loop), ("naive loop, source kept", naive_loop_source_kept)):
            peer = lambda w=way: w(source, suspects)  # noqa: E731
            yield row_of(case, name + suffix, lambda c=peer: timed([c], device, 3))
    torch.backends.cuda.matmul.allow_tf32 = False


def cuvs_cityblock(vectors: Tensor) -> Any:
    cupy = importlib.import_module("cupy")
    distance = importlib.import_module("cuvs.distance")
    return distance.pairwise_distance(cupy.asarray(vectors), cupy.asarray(vectors), metric="cityblock")


def times_of_all_pairs(m: int, n: int, device: str, backend: str) -> Iterator[Row]:
    models = random(m, n, 10, seed=0, device=device)
    case, entries = f"all pairs m={m} n={n}", n * (n - 1) // 2
    differences = m * (m - 1) / 2 * entries
    few = [reference.correlation_vector(x.double()) for x in models[:50]]
    exact = torch.cdist(torch.stack(few), torch.stack(few), p=1) * (2 / n**2)
    for precision in ("highest", "medium"):
        options = {"precision": precision, "backend": backend}
        call = lambda o=options: sac_fast.pairwise_correlation_distances(models, **o)  # noqa: E731
        row = row_of(case, f"sac_fast {precision}", lambda c=call: timed([c], device, 3), differences=differences)
        got = sac_fast.pairwise_correlation_distances(models[:50], **options).double()
        yield row | {"error": float((got - exact).abs().max())}
    vectors = torch.stack([sac_fast.correlation_vector(x, backend=backend) for x in models])
    yield row_of(case, "torch.cdist(p=1)", lambda: timed([lambda: torch.cdist(vectors, vectors, p=1)], device, 2))
    yield row_of(case, "cuVS", lambda: timed([lambda: cuvs_cityblock(vectors)], device, 2))


def times_of_nearest(m: int, n: int, device: str, backend: str) -> Iterator[Row]:
    entries = n * (n - 1) // 2
    generator = torch.Generator(device).manual_seed(0)
    vectors = torch.randint(0, 256, (m, entries), dtype=torch.uint8, device=device, generator=generator)
    found: list[Any] = []
    call = lambda: found.append(sac_fast.nearest_models(vectors, top=10, backend=backend))  # noqa: E731
    case = f"nearest models m={m} n={n} uint8 top 10"
    row = row_of(case, "sac_fast", lambda: once(call, device), differences=float(m) * m * entries)
    if found:
        wrong = 0
        for query in range(0, m, max(1, m // 10)):
            sums = torch.cat([(part.int() - vectors[query].int()).abs().sum(1) for part in vectors.split(100_000)])
            sums[query] = torch.iinfo(sums.dtype).max
            order = torch.sort(sums, stable=True).indices[:10]
            wrong += int((order != found[0].indices[query]).sum())
        row["error"] = wrong
    yield row


def times_of_jpeg(side: int, count: int, device: str, backend: str) -> Iterator[Row]:
    sets = max(2, -(-L2_BYTES // (2 * count * side * side * 3))) if device == "cuda" else 2
    batches = [torch.randint(0, 256, (count, side, side, 3), dtype=torch.uint8, device=device) for _ in range(sets)]
    calls = [lambda x=x: sac_fast.jpeg_roundtrip(x, 25, backend=backend) for x in batches]
    size = 2.0 * batches[0].numel()
    yield row_of(f"jpeg {count} of {side}×{side} q=25", "sac_fast", lambda: timed(calls, device, 20), bytes=size)


def cases(device: str, backend: str, sizes: str) -> dict[str, Callable[[], Iterator[Row]]]:
    """Every timed case by name, those with targets first; headline: what fits into a run of minutes."""
    at = (device, backend)
    if sizes == "quick":
        return {
            "pair": lambda: times_of_pair(500, 64, *at, 3),
            "large": lambda: times_of_large_pair(3000, 10, *at),
            "suspects": lambda: times_of_suspects(5, 100, 20, *at),
            "all_pairs": lambda: times_of_all_pairs(60, 20, *at),
            "nearest": lambda: times_of_nearest(400, 16, *at),
            "jpeg": lambda: times_of_jpeg(32, 8, *at),
        }
    if sizes == "headline":
        return {
            "pair512": lambda: times_of_pair(65_536, 512, *at, 10),
            "suspects": lambda: times_of_suspects(1_000, 1_000, 1_000, *at),
            "all_pairs": lambda: times_of_all_pairs(10_000, 200, *at),
            "pair10": lambda: times_of_pair(65_536, 10, *at, 20),
            "nearest": lambda: times_of_nearest(200_000, 64, *at),
            "jpeg": lambda: times_of_jpeg(224, 256, *at),
        }
    return {
        "pair512": lambda: times_of_pair(65_536, 512, *at, 10),
        "pair10": lambda: times_of_pair(65_536, 10, *at, 20),
        "suspects": lambda: times_of_suspects(1_000, 1_000, 1_000, *at),
        "large": lambda: times_of_large_pair(1_000_000, 512, *at),
        "all_pairs": lambda: times_of_all_pairs(10_000, 200, *at),
        "nearest": lambda: times_of_nearest(1_000_000, 64, *at),
        "jpeg": lambda: chain(times_of_jpeg(112, 256, *at), times_of_jpeg(224, 256, *at)),
        "small": lambda: chain(times_of_pair(1_000, 10, *at, 50), times_of_pair(10_000, 512, *at, 20)),
    }


def targets(times: list[Row], found: Row) -> list[Row]:
    """What the figures make of each target; missing rows leave a target open (ok is None)."""

    def at(case: str, engine: str, key: str = "seconds") -> float | None:
        return next((r.get(key) for r in times if r["case"] == case and r["engine"] == engine), None)

    def ratio(case: str, engine: str, peer: str) -> float | None:
        ours, theirs = at(case, engine), at(case, peer)
        return theirs / ours if ours and theirs else None

    def share(case: str) -> float | None:
        rate = at(case, "sac_fast highest", "issued_flop_per_s")
        return rate / max(found["bf16_flop_per_s"], found["fp16_flop_per_s"]) if rate else None

    k512, k10, suspects = "pair n=65536 k=512", "pair n=65536 k=10", "one source, 1000 suspects, n=1000 k=1000"
    large, pairs, nearest = (
        "pair n=1000000 k=512",
        "all pairs m=10000 n=200",
        "nearest models m=1000000 n=64 uint8 top 10",
    )
    least = [
        (f"{k512} highest: times naive float32", ratio(k512, "sac_fast highest", "naive"), 6.0),
        (f"{k512} highest: share of the matrix rate", share(k512), 0.55),
        (f"{k512} medium: times naive with TF32", ratio(k512, "sac_fast medium", "naive TF32"), 6.0),
        (f"{k10}: times naive float32", ratio(k10, "sac_fast highest", "naive"), 30.0),
        (f"{suspects}: times the naive loop", ratio(suspects, "sac_fast highest", "naive loop"), 5.0),
        (f"{pairs}: abs-diff/s", at(pairs, "sac_fast highest", "differences_per_s"), 9e12),
        (f"{pairs}: times torch.cdist", ratio(pairs, "sac_fast highest", "torch.cdist(p=1)"), 8.0),
    ]
    most = [
        (f"{k512} highest: error", at(k512, "sac_fast highest", "error"), 1e-6),
        (f"{k512} medium: error", at(k512, "sac_fast medium", "error"), 2e-3),
        (f"{large}: seconds", at(large, "sac_fast highest"), 15.0),
        (f"{large}: bytes", at(large, "sac_fast highest", "peak_bytes"), 8e9),
        (f"{large}: error", at(large, "sac_fast highest", "error"), 1e-6),
        (f"{nearest}: seconds", at(nearest, "sac_fast"), 60.0),
        (f"{nearest}: wrong neighbours", at(nearest, "sac_fast", "error"), 0.0),
    ]
    rows: list[Row] = [
        {"target": name, "got": got, "at_least": bound, "ok": None if got is None else got >= bound}
        for name, got, bound in least
    ]
    rows += [
        {"target": name, "got": got, "at_most": bound, "ok": None if got is None else got <= bound}
        for name, got, bound in most
    ]
    return rows
