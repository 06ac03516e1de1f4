"""Runs cases of a target, each with limits of time and memory."""

from __future__ import annotations

import contextlib
import gc
import itertools
import math
import os
import resource
import signal
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from sac_fast.io.process import status_bytes

from .mutations import Mutation, mutated, mutations, places, structural
from .outcomes import Outcomes
from .targets import Target

MAX_SECONDS = 10
_FREE_BYTES = 200 << 20
_CEILING = 3 << 30  # of the address space, so that a fault costs no machine
_ROUND = 200
_MAX_CORPUS, _MAX_CORPUS_BYTES = 3000, 1 << 16


@dataclass
class Run:
    """Cases so far.

    Attributes:
        count: number of inputs, the seeds among them.
        outcomes: what became of them.
        seconds, growth: of processor time, and bytes of resident memory, of the input that took most.
    """

    count: int = 0
    outcomes: Outcomes = field(default_factory=Outcomes)
    seconds: float = 0.0
    growth: int = 0

    def __str__(self) -> str:
        most = f"at most {self.seconds:.2f} s and {self.growth / 1e6:.0f} MB for one"
        return f"{self.count:,} inputs: {self.outcomes}; {most}"


def run_one(target: Target, content: bytes, run: Run | None = None) -> bool:
    """Read one file; raises whatever is a fault. Returns whether it ended as none before."""
    run = Run() if run is None else run
    with tempfile.TemporaryDirectory() as folder:
        run.outcomes.begin()
        with _limits(len(content), run):
            target.read(content, Path(folder), run.outcomes)
    run.count += 1
    return run.outcomes.end()


def run_cases(
    target: Target,
    seconds: float,
    start: int,
    current: Path | None = None,
    most: float = math.inf,
    tell: Callable[[Run], object] | None = None,
) -> Run:
    """Damage files and read them until the time is up.

    The files are the target's seeds, and those of the cases that ended as none before: that is how inputs get past one
    check after another. Half of the damage is done to those that were opened.

    Args:
        target: see `Target`.
        seconds: of all cases.
        start: seed of the first round; the cases are a function of it.
        current: each file is written there before it is read.
        most: cases besides the seeds.
        tell: called about once a minute.

    Returns:
        The numbers.
    """
    corpus = target.seeds()
    run, seeds, told = Run(), len(corpus), time.monotonic()
    end = told + seconds
    sound: list[bytes] = []  # of the corpus, those that were opened
    faults: list[BaseException] = []  # not for Hypothesis, which would read other files before it tells of them

    def is_over() -> bool:
        return bool(faults) or time.monotonic() > end or run.count >= seeds + most

    def read(content: bytes) -> bool:
        if current is not None:
            current.write_bytes(content)
        opened = run.outcomes.opened
        is_kept = run_one(target, content, run) or run.count <= seeds
        if is_kept and run.outcomes.opened > opened and len(content) <= _MAX_CORPUS_BYTES and len(sound) < _MAX_CORPUS:
            sound.append(content)
        return is_kept

    def case(place: float, is_sound: bool, changes: list[Mutation]) -> None:
        nonlocal told
        if is_over():
            return
        chosen = sound if is_sound and sound else corpus
        content = mutated(chosen[int(place * len(chosen))], changes, corpus)
        try:
            if read(content) and len(content) <= _MAX_CORPUS_BYTES and len(corpus) < _MAX_CORPUS:
                corpus.append(content)
        except BaseException as error:
            faults.append(error)
        if tell is not None and time.monotonic() > told + 60:
            told = time.monotonic()
            tell(run)

    for content in tuple(corpus):
        read(content)
    for number in itertools.count(start):
        if is_over():
            break
        _round(case, number, mutations if not target.is_sealed else structural)
    if faults:
        raise faults[0]
    return run


def _round(case: object, number: int, changes: st.SearchStrategy[list[Mutation]]) -> None:
    options = settings(
        max_examples=_ROUND,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    seed(number)(options(given(places, st.booleans(), changes)(case)))()  # type: ignore[arg-type]


@contextlib.contextmanager
def _limits(file_bytes: int, run: Run) -> Iterator[None]:
    """Ends the process after `MAX_SECONDS` of waiting (SIGALRM) or working (SIGPROF); raises for too much memory."""
    before, soft = status_bytes("VmRSS"), resource.getrlimit(resource.RLIMIT_AS)
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    resource.setrlimit(resource.RLIMIT_AS, (status_bytes("VmSize") + _CEILING, soft[1]))
    handler = signal.signal(signal.SIGALRM, signal.SIG_DFL)  # no exception of Python's would end a loop in C
    start = time.process_time()
    signal.alarm(MAX_SECONDS * int(os.environ.get("SAC_FAST_FUZZ_SLOWNESS", "1")))
    signal.setitimer(signal.ITIMER_PROF, MAX_SECONDS)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        signal.alarm(0)
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGALRM, handler)
        resource.setrlimit(resource.RLIMIT_AS, soft)
    growth = status_bytes("VmHWM") - before
    run.seconds, run.growth = max(run.seconds, time.process_time() - start), max(run.growth, growth)
    if growth > 2 * file_bytes + _FREE_BYTES:
        gc.collect()
        raise MemoryError(f"{file_bytes:,} bytes of input took {growth:,} of memory")
