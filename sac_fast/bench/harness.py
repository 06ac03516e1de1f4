"""One case: check every implementation against the definition, then time them in turns."""

from __future__ import annotations

import dataclasses
import math
import operator
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import SacFastError
from ..io.choices import Metric
from .limits import Limit

OURS = "sac_fast"
# The stated precision of level "highest".
OUR_TOLERANCE = 1e-6
# Peers sum up to 10⁸ numbers in float32.
PEER_TOLERANCE = 1e-4
# Approximate peers that find less are not timed.
MIN_RECALL = 0.9
# Short calls are timed in blocks of about this long.
_BLOCK_SECONDS = 0.03
# OpenMP's threads spin for some milliseconds after the last parallel region, on cores that the next one needs.
_PAUSE_SECONDS = 0.01
# A call that takes longer than this gets fewer rounds.
_LONG_SECONDS = 3.0
_LONG_ROUNDS = 3


class WrongResultError(SacFastError, RuntimeError):
    """An op of sac_fast gave a wrong result, which is not worth timing."""


@dataclass(frozen=True)
class Implementation:
    """One way to compute a case.

    Attributes:
        name: as the tables print it.
        run: the call that is timed; None if it cannot run here.
        missing: why it cannot run.
        result: turns what `run` returns into what the case checks; not timed.
        limit: name of the machine limit to compare with.
        tolerance: largest |difference| from the definition; None: the case's own.
        recall: of an approximate one: from its result and those of the ones before it, the share of the right answers
            that it finds. It is checked in place of the error.
    """

    name: str
    run: Callable[[], Any] | None
    missing: str | None = None
    result: Callable[[Any], Any] = lambda value: value
    limit: str | None = None
    tolerance: float | None = None
    recall: Callable[[Any, Mapping[str, Any]], float] | None = None


@dataclass(frozen=True)
class Target:
    """What a case must show. `value` reads it from the record and gives None where it is not known."""

    text: str
    value: Callable[[Mapping[str, Any]], float | None]
    at_least: float | None = None
    at_most: float | None = None


@dataclass(frozen=True)
class Case:
    """Implementations of one op on the same inputs; the first one is ours.

    Attributes:
        name: unique within a run.
        sweep: the letter it is plotted against, "n", "k" or "m"; None: a row of the table.
        op, shape, metric: what is computed.
        implementations: ours first.
        error: largest |difference| of a result from the float64 definition.
        checked: what the result is checked against, in words.
        tolerance: of implementations that state none.
        work, unit: numerator of the rate, in 10⁹, and the rate's name.
        targets: judged after the timing.
        agreement: from all results by name, further numbers for the record.
    """

    name: str
    op: str
    shape: Mapping[str, int]
    implementations: Sequence[Implementation]
    error: Callable[[Any], float]
    work: float
    unit: str = "GFLOP/s"
    metric: Metric = "cosine"
    checked: str = "all entries"
    tolerance: float = PEER_TOLERANCE
    sweep: str | None = None
    targets: Sequence[Target] = ()
    agreement: Callable[[Mapping[str, Any]], dict[str, float]] | None = None

    def describe(self) -> dict[str, Any]:
        """The first fields of the case's record, JSON-able."""
        names = ("sweep", "op", "shape", "metric", "checked", "unit", "work")
        return {"case": self.name, **{name: getattr(self, name) for name in names}}


@dataclass
class _Clock:
    """Times of one implementation, seconds a call."""

    run: Callable[[], Any]
    calls: int
    rounds: int
    seconds: list[float] = field(default_factory=list)

    def block(self) -> None:
        time.sleep(_PAUSE_SECONDS)
        start = time.perf_counter()
        for _ in range(self.calls):
            self.run()
        self.seconds.append((time.perf_counter() - start) / self.calls)


def _clock(run: Callable[[], Any], first_seconds: float, rounds: int, budget: float = math.inf) -> _Clock:
    seconds = first_seconds
    if first_seconds < _BLOCK_SECONDS:
        # the first call warmed up; this one says how long a call takes
        start = time.perf_counter()
        run()
        seconds = time.perf_counter() - start
    calls = max(1, min(10_000, round(_BLOCK_SECONDS / max(seconds, 1e-6))))
    most = min(rounds, _LONG_ROUNDS) if seconds > _LONG_SECONDS else rounds
    affordable = math.floor(min(most, (budget - first_seconds) / (calls * max(seconds, 1e-9))))
    return _Clock(run, calls, affordable) if affordable > 0 else _Clock(run, 1, 0, [first_seconds])


def measure(
    case: Case, limits: Mapping[str, Limit], rounds: int, budget: float = math.inf, earlier: Sequence[Any] = ()
) -> dict[str, Any]:
    """Check and time one case; all implementations take turns, so that a busy machine slows all of them.

    Args:
        case: what to run.
        limits: the machine limits by name; those that the case names are measured again in the same rounds.
        rounds: number of turns, ≥ 1; implementations that take more than 3 s a call get at most 3.
        budget: seconds of each implementation but ours, its check included: one gets fewer turns, and only the time of
            its check where a second call would exceed it. It is missing where one call would, by its time at the size
            of the sweep before and the work of both.
        earlier: records of the run so far.

    Returns:
        A JSON-able record: the case's description, for each implementation `seconds` (median), `all_seconds`, `error`,
        `rate`, `ratio` (its time over ours) and `fraction` of its limit, or `missing` or `refused` with the reason;
        `limits`, `agreement` and the judged `targets`.

    Raises:
        WrongResultError: ours lies further from the definition than the tolerance.
    """
    record: dict[str, Any] = case.describe() | {"implementations": {}}
    clocks: dict[str, _Clock] = {}
    results: dict[str, Any] = {}
    for number, implementation in enumerate(case.implementations):
        is_ours = number == 0
        why = None if is_ours else _over_budget(case, implementation.name, budget, earlier)
        if why is not None:
            implementation = dataclasses.replace(implementation, run=None, missing=why)
        entry, clock = _checked(case, implementation, rounds, math.inf if is_ours else budget, results)
        record["implementations"][implementation.name] = entry
        if clock is not None:
            clocks[implementation.name] = clock
        elif is_ours:
            raise WrongResultError(f"{case.name}: {entry.get('refused') or entry.get('missing')}")
    if case.agreement is not None:
        record["agreement"] = case.agreement(results)
    results.clear()
    timed = [i.limit for i in case.implementations if i.name in clocks] if case.sweep is None else []
    wanted = sorted(name for name in set(timed) if name is not None and name in limits)
    limit_clocks = {name: _clock(limits[name].run, limits[name].seconds, rounds) for name in wanted}
    for turn in range(rounds):
        for clock in (*clocks.values(), *limit_clocks.values()):
            if turn < clock.rounds:
                clock.block()
    rates = {name: limits[name].work / statistics.median(c.seconds) for name, c in limit_clocks.items()}
    record["limits"] = rates
    _rate(case, record, clocks, rates)
    record["targets"] = [judge(target, record) for target in case.targets]
    return record


def _over_budget(case: Case, name: str, budget: float, earlier: Sequence[Mapping[str, Any]]) -> str | None:
    """Why an implementation is not run: one call takes longer than its budget. None if it does not, as far as known."""
    known = [
        (record["implementations"][name]["seconds"], record)
        for record in earlier
        # at other values of what a sweep keeps fixed, times do not follow the work
        if case.sweep is not None
        and (record["op"], record["sweep"]) == (case.op, case.sweep)
        and "seconds" in record["implementations"].get(name, {})
    ]
    if not known:
        return None
    seconds, nearest = known[-1]
    predicted = seconds * case.work / nearest["work"]
    if predicted <= budget:
        return None
    by = f"by its {seconds:.3g} s for {nearest['case']}"
    return f"one call would take about {predicted:.3g} s, {by}: more than a peer's budget of {budget:g} s"


def _checked(
    case: Case, implementation: Implementation, rounds: int, budget: float, results: dict[str, Any]
) -> tuple[dict[str, Any], _Clock | None]:
    if implementation.run is None:
        return {"missing": implementation.missing or "not available"}, None
    start = time.perf_counter()
    try:
        raw = implementation.run()
        seconds = time.perf_counter() - start
        result = implementation.result(raw)
        if implementation.recall is not None:
            return _checked_by_recall(
                implementation.name, implementation.run, implementation.recall(result, results), seconds, rounds, budget
            )
        error = float(case.error(result))
    except Exception as failure:  # a peer that breaks must not take the run with it
        if implementation is case.implementations[0]:
            raise
        return {"refused": f"failed: {type(failure).__name__}: {failure}"}, None
    tolerance = case.tolerance if implementation.tolerance is None else implementation.tolerance
    # NaN is no result either
    if not error <= tolerance:
        wanted = f"must lie within {tolerance:g} of the float64 definition ({case.checked})"
        return {"refused": f"{implementation.name} {wanted}, got a difference of {error:.3g}", "error": error}, None
    results[implementation.name] = result
    return {"error": error, "tolerance": tolerance}, _clock(implementation.run, seconds, rounds, budget)


def _checked_by_recall(
    name: str, run: Callable[[], Any], recall: float, seconds: float, rounds: int, budget: float
) -> tuple[dict[str, Any], _Clock | None]:
    entry: dict[str, Any] = {"recall": recall}
    if not recall >= MIN_RECALL:
        wanted = f"must find {MIN_RECALL:.0%} of the right answers"
        return entry | {"refused": f"{name} {wanted}, got {recall:.1%}"}, None
    return entry, _clock(run, seconds, rounds, budget)


def _rate(case: Case, record: dict[str, Any], clocks: Mapping[str, _Clock], limits: Mapping[str, float]) -> None:
    ours = statistics.median(clocks[case.implementations[0].name].seconds)
    for implementation in case.implementations:
        clock = clocks.get(implementation.name)
        if clock is None:
            continue
        seconds = statistics.median(clock.seconds)
        entry = record["implementations"][implementation.name]
        entry |= {
            "seconds": seconds,
            "all_seconds": clock.seconds,
            "calls_a_block": clock.calls,
            "rate": case.work / seconds,
            "ratio": seconds / ours,
        }
        if implementation.limit is not None and implementation.limit in limits:
            entry |= {"limit": implementation.limit, "fraction": entry["rate"] / limits[implementation.limit]}


def judge(target: Target, record: Mapping[str, Any]) -> dict[str, Any]:
    """Say whether a record meets a target: `met` is None where that is not known."""
    value = target.value(record)
    bounds = ((target.at_least, operator.ge), (target.at_most, operator.le))
    met = None if value is None else all(bound is None or holds(value, bound) for bound, holds in bounds)
    return {"text": target.text, "value": value, "at_least": target.at_least, "at_most": target.at_most, "met": met}
