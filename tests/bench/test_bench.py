"""The benchmarks at tiny sizes: results are checked before they are timed, nothing is skipped in silence."""

import dataclasses
import json
import os
import shutil

import pytest
import torch

import sac_fast
from sac_fast import _backend
from sac_fast.bench import harness, limits, peers, run, run_bench
from sac_fast.bench.growth import growth_exponents
from sac_fast.bench.harness import Case, Implementation, Target, WrongResultError, measure
from sac_fast.bench.machine import environment
from sac_fast.bench.memory import memory_record

needs_kernels = pytest.mark.skipif(not _backend.is_compiled(), reason="sac_fast._C is not built")


def case(*implementations, **more):
    return Case(
        name="a case",
        op="op",
        shape={"n": 2},
        metric="cosine",
        implementations=implementations,
        error=lambda value: abs(value - 1.0),
        checked="everything",
        tolerance=1e-6,
        work=3.0,
        unit="GFLOP/s",
        **more,
    )


def test_a_wrong_result_of_ours_is_not_timed():
    calls = []
    wrong = Implementation("sac_fast", lambda: calls.append(1) or 1.1)
    with pytest.raises(
        WrongResultError, match=r"must lie within 1e-06 of the float64 definition .* got a difference of"
    ):
        measure(case(wrong), {}, rounds=3)
    assert len(calls) == 1


@pytest.mark.parametrize("value", [1.1, float("nan")])
def test_a_wrong_result_of_a_peer_is_refused_by_name_and_not_timed(value):
    calls = []
    record = measure(
        case(Implementation("sac_fast", lambda: 1.0), Implementation("peer", lambda: calls.append(1) or value)), {}, 3
    )
    entry = record["implementations"]["peer"]
    assert entry["refused"].startswith("peer must lie within 1e-06 of the float64 definition (everything), got")
    assert "seconds" not in entry
    assert len(calls) == 1


def test_a_peer_that_fails_or_is_missing_is_reported():
    def broken():
        raise RuntimeError("no compiler")

    record = measure(
        case(
            Implementation("sac_fast", lambda: 1.0),
            Implementation("broken", broken),
            Implementation("absent", None, missing="absent is not installed"),
        ),
        {},
        1,
    )
    assert record["implementations"]["broken"] == {"refused": "failed: RuntimeError: no compiler"}
    assert record["implementations"]["absent"] == {"missing": "absent is not installed"}


@pytest.mark.parametrize(
    ("found", "words"), [(0.95, None), (0.5, "peer must find 90% of the right answers, got 50.0%")]
)
def test_an_approximate_peer_is_checked_by_its_recall(found, words):
    seen = []
    peer = Implementation(
        "peer", lambda: 7.0, recall=lambda result, before: seen.append((result, dict(before))) or found
    )
    entry = measure(case(Implementation("sac_fast", lambda: 1.0), peer), {}, 1)["implementations"]["peer"]
    assert seen == [(7.0, {"sac_fast": 1.0})]
    assert entry["recall"] == found
    assert entry.get("refused") == words
    assert ("seconds" in entry) == (words is None)


def test_exponents_are_slopes_through_the_larger_sizes():
    def record(n, **seconds):
        entries = {name: {"seconds": value} for name, value in seconds.items()}
        return {"sweep": "n", "shape": {"n": n}, "implementations": entries | {"absent": {"missing": "why"}}}

    # a constant cost up to 100, then n²
    records = [
        record(10, ours=1.0),
        record(100, ours=1.0),
        record(1_000, ours=4.0),
        record(10_000, ours=400.0, late=1.0),
    ]
    assert growth_exponents([*records, {"sweep": None}]) == {"n": {"ours": pytest.approx(2.0)}}


@needs_kernels
def test_results_are_kept_after_each_case(tiny_sizes, monkeypatch, capsys):
    monkeypatch.setattr(run, "QUICK", dataclasses.replace(tiny_sizes, sweep_m=(4,)))
    kept = []
    ops = ["correlation_vector", "pairwise_correlation_distances"]
    found = run_bench(ops, quick=True, threads=1, keep=lambda results: kept.append(json.loads(json.dumps(results))))
    lengths = [(each["complete"], len(each["records"])) for each in kept]
    assert lengths == [(False, 1), (False, 2), (False, 3), (False, 4), (True, 4)]
    assert found["records"][0]["case"] == kept[0]["records"][0]["case"]
    # stderr is no terminal: a line for each case
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("benchmarks: ")]
    assert len(lines) == 4
    assert lines[0].startswith("benchmarks: 1 of 4, correlation_vector, n = 30")


def test_a_slow_peer_gets_the_rounds_that_its_budget_pays(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(harness.time, "perf_counter", lambda: now[0])

    def taking(seconds):
        def call():
            now[0] += seconds
            return 1.0

        return call

    peers_of = {name: Implementation(name, taking(float(name))) for name in ("1", "2.5", "6", "20")}
    record = measure(case(Implementation("sac_fast", taking(2.5)), *peers_of.values()), {}, 9, budget=10)
    found = {name: entry["all_seconds"] for name, entry in record["implementations"].items()}
    # the check is the first call that the budget pays, and the only one of the slow ones; ours has no budget
    assert found == {"sac_fast": [2.5] * 9, "1": [1] * 9, "2.5": [2.5] * 3, "6": [6], "20": [20]}


def test_a_peer_is_left_out_of_a_sweep_where_one_call_would_exceed_its_budget():
    calls = []

    def at(m, work, **more):
        peer = Implementation("peer", lambda: calls.append(m) or 1.0)
        made = dataclasses.replace(case(Implementation("sac_fast", lambda: 1.0), peer, **more), name=f"m = {m}")
        return dataclasses.replace(made, work=work, shape={"m": m})

    timed = {"op": "op", "sweep": "m", "work": 2.0, "case": "m = 20", "implementations": {"peer": {"seconds": 3.0}}}
    over = measure(at(40, 8.0, sweep="m"), {}, 1, budget=10, earlier=[timed])["implementations"]
    assert over["peer"] == {
        "missing": "one call would take about 12 s, by its 3 s for m = 20: more than a peer's budget of 10 s"
    }
    assert "seconds" in over["sac_fast"]
    assert not calls
    for one, budget in ((at(40, 8.0, sweep="m"), 12), (at(40, 8.0), 10), (at(40, 8.0, sweep="n"), 10)):
        calls.clear()
        assert "seconds" in measure(one, {}, 1, budget=budget, earlier=[timed])["implementations"]["peer"]
        assert calls


def test_our_own_failure_is_not_hidden():
    def broken():
        raise ZeroDivisionError("ours")

    with pytest.raises(ZeroDivisionError, match="ours"):
        measure(case(Implementation("sac_fast", broken)), {}, 1)


def test_times_are_medians_of_all_rounds_and_ratios_their_quotients(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(harness.time, "perf_counter", lambda: now[0])

    def taking(*seconds):
        left = iter(seconds)

        def call():
            now[0] += next(left)
            return 1.0

        return call

    # the first call is the check
    ours, peer = taking(9.0, 1.0, 2.0, 4.0), taking(9.0, 6.0, 5.0, 7.0)
    limit = limits.Limit(taking(1.0, 1.0, 1.0), 6.0, "GFLOP/s", 1.0, 6.0)
    target = Target("3× peer", lambda r: r["implementations"]["peer"]["ratio"], at_least=3)
    record = measure(
        case(Implementation("sac_fast", ours, limit="limit"), Implementation("peer", peer), targets=[target]),
        {"limit": limit},
        3,
    )
    entry = record["implementations"]["sac_fast"]
    assert entry["all_seconds"] == [1.0, 2.0, 4.0]
    assert entry["seconds"] == 2.0
    assert entry["rate"] == 1.5
    assert entry["fraction"] == 0.25
    assert record["implementations"]["peer"]["ratio"] == 3.0
    assert record["targets"] == [{"text": "3× peer", "value": 3.0, "at_least": 3, "at_most": None, "met": True}]


@pytest.mark.parametrize(("value", "met"), [(3.0, True), (2.9, False), (None, None), (float("nan"), False)])
def test_targets(value, met):
    assert harness.judge(Target("", lambda _: value, at_least=3.0), {})["met"] is met


def test_at_most():
    assert harness.judge(Target("", lambda _: 3.1, at_most=3.0), {})["met"] is False


@pytest.mark.parametrize("metric", ["cosine", "rbf"])
def test_peers_compute_the_distance(metric):
    a, b = torch.randn(1100, 4), torch.randn(1100, 4)
    expected = float(sac_fast.correlation_distance(a, b, metric=metric, backend="reference"))
    assert float(peers.naive(a, b, metric)) == pytest.approx(expected, abs=1e-5)
    # 1100 probes: tiles off the diagonal too
    assert float(peers.tiled(a, b, metric)) == pytest.approx(expected, abs=1e-5)


@needs_kernels
def test_results_hold_every_case_with_its_peers(results):
    json.dumps(results, allow_nan=False)
    assert {"kind", "hardware", "versions", "limits", "limits_missing", "peers_missing", "records", "quick"} <= set(
        results
    )
    assert results["hardware"]["threads"] == 2
    assert results["hardware"]["cores"] == os.cpu_count()
    assert results["versions"]["torch"] == torch.__version__
    assert results["limits"]["float32 matrix product"]["rate"] > 0
    # limits.cpp is part of the package and compiles
    if shutil.which("c++"):
        assert results["limits"]["float32 |a − b| in registers"]["rate"] > 0
    assert "pykeops is not installed" in results["peers_missing"]["pykeops"].replace(".torch", "")
    ops = {record["op"] for record in results["records"]}
    assert ops == {
        "correlation_distance",
        "correlation_distance_weighted",
        "correlation_distances",
        "correlation_matrix",
        "correlation_vector",
        "pairwise_correlation_distances",
        "nearest_models",
    }
    # each case has the sizes it was asked for
    sweeps = [(r["sweep"], r["shape"][r["sweep"]]) for r in results["records"] if r["sweep"]]
    assert sweeps == [("n", 10), ("n", 20), ("k", 1), ("k", 3), ("m", 4), ("m", 6)]
    for record in results["records"]:
        ours = record["implementations"]["sac_fast"]
        assert ours["seconds"] > 0
        assert ours["error"] <= ours["tolerance"]
        for entry in record["implementations"].values():
            assert "refused" not in entry
            assert "seconds" in entry or "missing" in entry


@needs_kernels
def test_results_judge_targets(results):
    by_case = {record["case"]: record for record in results["records"]}
    memory = by_case["memory, pair, n = 300, k = 4"]
    assert memory["targets"][0]["met"] is True
    assert memory["agreement"]["peak_bytes_above_inputs"] < 300e6
    nearest, libraries = [record for record in results["records"] if record["op"] == "nearest_models"]
    assert nearest["agreement"]["equal_entries"] == 1.0
    assert any(name.startswith("faiss-cpu") for name in libraries["implementations"])
    gradient = by_case["gradient of a pair, n = 40, k = 3, cosine"]
    assert [target["at_most"] for target in gradient["targets"]] == [4.5, 3]
    assert all(target["value"] > 0 for target in gradient["targets"])
    assert by_case["pair, n = 40, k = 3, cosine"]["agreement"] == {"same_bits_on_1_thread": 1.0}
    (source,) = [record for record in results["records"] if record["op"] == "correlation_distances"]
    assert source["shape"] == {"m": 3, "n": 30, "k": 4}
    assert "3 calls of correlation_distance" in source["implementations"]


def test_wrong_arguments():
    with pytest.raises(ValueError, match=r"ops must be among correlation_distance, .*, got 'all'"):
        run_bench(["all"])
    with pytest.raises(ValueError, match="threads must be an integer of at least 1, got 0"):
        run_bench(threads=0)


def test_limits_without_a_compiler_are_reported(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    found, missing = limits.measure_limits(1, quick=True)
    assert set(found) == {limits.MATRIX_PRODUCT}
    assert set(missing) == {limits.DIFFERENCES, limits.MINIMA, limits.BYTE_DIFFERENCES, limits.CLOCK}
    assert "got none named ['no-such-compiler']" in missing[limits.CLOCK]


def test_limits_with_a_compiler_that_fails_are_reported(monkeypatch):
    monkeypatch.setenv("CXX", "false")
    assert "must compile limits.cpp" in limits.measure_limits(1, quick=True)[1][limits.DIFFERENCES]


def test_memory_process_that_fails_is_an_error():
    with pytest.raises(RuntimeError, match="the process that measures memory failed: "):
        memory_record(0, 1, 1, judged=False)


def test_environment_is_put_back(monkeypatch):
    monkeypatch.delenv("SAC_FAST_NUM_THREADS", raising=False)
    with environment("SAC_FAST_NUM_THREADS", 1):
        assert _backend.cpu_threads() == 1
        with environment("SAC_FAST_NUM_THREADS", 3):
            assert _backend.cpu_threads() == 3
        assert os.environ["SAC_FAST_NUM_THREADS"] == "1"
    assert "SAC_FAST_NUM_THREADS" not in os.environ
