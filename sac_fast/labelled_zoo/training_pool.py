"""Worker processes that train models, one thread each; the demo and the test bed share them."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.synchronize import Event
from typing import Any, Protocol, TypeVar

import torch

from ..errors import ModelError
from ..models.code_path import code_folder, safe_children, start_with_code_folder

#: The largest seed of a demo or a test bed: each model's is its 10,000-fold and more, and torch takes 64 bits.
MAX_SEED = 2**48 - 1

_MOST_WORKERS = 8  # each holds torch and the task, some 500 MB


class Named(Protocol):
    """What has a name."""

    @property
    def name(self) -> str: ...


Job = TypeVar("Job", bound=Named)
Done = TypeVar("Done")


class StoppedError(Exception):
    """Raised inside a worker when the whole is told to stop."""


def cores() -> int:
    """The number of processes that make sense here: one a core, at most 8."""
    # The affinity mask, where there is one: a batch system may grant fewer than the machine has.
    granted = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(granted, _MOST_WORKERS)


def check_workers(workers: int | None) -> None:
    """Refuse a number of processes that is none.

    Raises:
        ValueError: not None and not an integer of at least 1.
    """
    if workers is not None and (not isinstance(workers, int) or isinstance(workers, bool) or workers < 1):
        raise ValueError(f"workers must be an integer of at least 1, got {workers!r}")


def check_seed(seed: int) -> None:
    """Refuse a seed whose models would have seeds that torch does not take.

    Raises:
        ValueError: not an integer in 0 … `MAX_SEED`.
    """
    if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed <= MAX_SEED:
        raise ValueError(f"seed must be an integer in 0…{MAX_SEED}, got {seed!r}")


def quiet_worker() -> None:
    """Prepare a worker process: one thread, Ctrl-C left to the parent."""
    # The terminal sends Ctrl-C to every process; the parent answers it by setting `stop`.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # One thread a process: the sums then have one order, whatever the number of workers.
    torch.set_num_threads(1)


def in_processes(
    jobs: Sequence[Job],
    work: Callable[[Job], Done],
    start: Callable[..., None],
    arguments: tuple[Any, ...],
    *,
    workers: int | None = None,
    after: Callable[[Job], str | None] = lambda job: None,
) -> Generator[tuple[Job, Done], None, None]:
    """Do the jobs in worker processes (start method spawn) and yield each as soon as it is done.

    Jobs begin in their order, save that one whose ``after`` is not done yet lets others pass.

    Args:
        jobs: what is to be done; names differ.
        work: of one job, in a worker; a function of a module, since it is sent by name.
        start: called first in every worker, as ``start(*arguments, stop)``; ``stop`` is an event that is set when
            the whole ends early, which the worker's trainings shall look at.
        arguments: of start.
        workers: number of processes; None: one a core, at most 8.
        after: name of the job that must be done before this one; None, or a name that is not among the jobs: none.

    Yields:
        Job and result, in the order in which they finish.

    Raises:
        ModelError: a process died.
        Exception: what the work raised; nothing is left running then.
    """
    if not jobs:
        return
    processes = min(workers or cores(), len(jobs))
    context = multiprocessing.get_context("spawn")
    stop: Event = context.Event()
    pool = ProcessPoolExecutor(
        processes,
        mp_context=context,
        initializer=start_with_code_folder,
        initargs=(code_folder(), start, *arguments, stop),
    )
    waiting, open_names = list(jobs), {job.name for job in jobs}
    running: dict[Future[Done], Job] = {}
    try:
        while waiting or running:
            ready = [job for job in waiting if after(job) not in open_names]
            if not ready and not running:
                raise ValueError(f"jobs must not wait for each other, got {waiting[0].name!r} that does")
            # One more than there are processes, so that none waits for this loop.
            for job in ready[: processes + 1 - len(running)]:
                waiting.remove(job)
                with safe_children():
                    running[pool.submit(work, job)] = job
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                job = running.pop(future)
                open_names.discard(job.name)
                yield job, future.result()
    except BrokenProcessPool as error:
        raise ModelError(
            "a training process must stay alive, but one ended: killed, out of memory, or started from a "
            'script without `if __name__ == "__main__":`'
        ) from error
    finally:
        # Also after Ctrl-C: running trainings end at their next step, and no process is left behind.
        stop.set()
        pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch on one thread for a while.

    Networks this small gain nothing from a second one, and the order of a sum, so the last bit of an answer, can
    depend on the number of threads.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
