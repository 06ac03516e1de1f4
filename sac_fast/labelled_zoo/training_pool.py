"""Worker processes that train models, one thread each."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.synchronize import Event
from typing import Any, Protocol, TypeVar

import torch

from ..errors import ModelError
from ..models.code_path import code_folder, safe_children, start_with_code_folder

#: The largest seed of a plan: a model's own is up to 10,000 times as large, and torch takes 64 bits.
MAX_SEED = 2**48 - 1

_MAX_WORKERS = 8  # each holds torch and the task, some 500 MB


class Named(Protocol):
    """A job: anything with a name."""

    @property
    def name(self) -> str: ...


Job = TypeVar("Job", bound=Named)
Done = TypeVar("Done")


class StoppedError(Exception):
    """Raised inside a worker when the run ends early."""


def default_workers() -> int:
    """One process a core that this process may use, at most 8."""
    # The affinity mask, where there is one: a batch system may grant fewer than the machine has.
    granted = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(granted, _MAX_WORKERS)


def check_workers(workers: int | None) -> None:
    """Check a number of processes.

    Raises:
        ValueError: not None and not an integer of at least 1.
    """
    if workers is not None and (not isinstance(workers, int) or isinstance(workers, bool) or workers < 1):
        raise ValueError(f"workers must be an integer of at least 1, got {workers!r}")


def check_seed(seed: int) -> None:
    """Check the seed of a plan.

    Raises:
        ValueError: not an integer in 0 … `MAX_SEED`.
    """
    if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed <= MAX_SEED:
        raise ValueError(f"seed must be an integer in 0…{MAX_SEED}, got {seed!r}")


def prepare_worker() -> None:
    """Prepare a worker process: one thread, Ctrl-C left to the parent, an end with the parent's."""
    # The terminal sends Ctrl-C to every process; the parent answers it by setting `stop`.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # One thread a process: the sums then have one order, whatever the number of workers.
    torch.set_num_threads(1)
    # A killed parent holds no lock any more, so its workers must not write on.
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)  # no clean-up: files are written whole or not at all


def in_processes(
    jobs: Sequence[Job],
    work: Callable[[Job], Done],
    start: Callable[..., None],
    arguments: tuple[Any, ...],
    *,
    workers: int | None = None,
    after: Callable[[Job], str | None] = lambda job: None,
) -> Generator[tuple[Job, Done], None, None]:
    """Run jobs in worker processes (start method spawn) and yield each as soon as it is done.

    Jobs start in their order; one whose ``after`` is not done yet is passed over until then.

    Args:
        jobs: of different names.
        work: called with a job in a worker; a module-level function, since it is pickled by name.
        start: initialises every worker, as ``start(*arguments, stop)``; ``stop`` is an event that is set when the
            run ends early, which trainings must check.
        arguments: of ``start``.
        workers: number of processes; None: one a core, at most 8.
        after: name of the job that must be done before the given one; None, or no job's name: none.

    Yields:
        Job and result, in the order in which they finish.

    Raises:
        ModelError: a process died.
        Exception: whatever ``work`` raised; no process is left running.
    """
    if not jobs:
        return
    processes = min(workers or default_workers(), len(jobs))
    context = multiprocessing.get_context("spawn")
    stop: Event = context.Event()
    pool = ProcessPoolExecutor(
        processes,
        mp_context=context,
        initializer=start_with_code_folder,
        initargs=(code_folder(), start, *arguments, stop),
    )
    waiting, unfinished = list(jobs), {job.name for job in jobs}
    running: dict[Future[Done], Job] = {}
    try:
        while waiting or running:
            ready = [job for job in waiting if after(job) not in unfinished]
            if not ready and not running:
                raise ValueError(f"jobs must not wait for each other, got {waiting[0].name!r} that does")
            # One more than there are processes, so that none waits for this loop.
            for job in ready[: processes + 1 - len(running)]:
                waiting.remove(job)
                with safe_children():
                    running[pool.submit(work, job)] = job
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                job = running.pop(future)
                unfinished.discard(job.name)
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
    """Run torch on one thread: the order of a sum, so the last bit of an output, can depend on their number."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
