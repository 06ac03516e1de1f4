"""Ask a service for many probes: several requests at once, attempts again, a rate, a budget, all in a ledger."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import ModelError, describe_error
from ..io.progress import track
from ..io.text import escape_text
from .endpoint_answer import AnswerError
from .endpoint_http import AskError
from .endpoint_ledger import BudgetSpentError, Purpose, QueryLedger

Pixels = npt.NDArray[np.uint8]
MAX_WAIT = 60.0


@dataclass(frozen=True)
class Limits:
    """How a service is asked.

    Attributes:
        rate: most requests a second; None: no limit.
        concurrency: most requests at once.
        retries: further attempts at a request that failed.
        backoff: seconds before the first further attempt; doubled each time, ± 50 % at random.
        budget: most queries over all runs; None: no limit.
    """

    rate: float | None = None
    concurrency: int = 1
    retries: int = 4
    backoff: float = 0.5
    budget: int | None = None


class QueryRun:
    """One run over probes.

    Args:
        ask: the answer for uint8 ``(1, H, W, 3)``, a list of one JSON value; called from several threads.
        read: the row of numbers that an answer stands for.
        ledger, service: where queries are written down.
        limits: see `Limits`.
    """

    def __init__(
        self,
        ask: Callable[[Pixels], Any],
        read: Callable[[Any], Sequence[float]],
        ledger: QueryLedger,
        service: int,
        limits: Limits,
    ) -> None:
        self._ask, self._read, self._ledger, self._service, self._limits = ask, read, ledger, service, limits
        self._stop = threading.Event()
        self._columns: int | None = None
        self._pace = threading.Lock()
        self._next = 0.0

    def run(self, images: Iterable[tuple[str, Pixels]], purpose: Purpose, *, progress: bool = False) -> bool:
        """Ask for each image whose answer is not recorded.

        Args:
            images: hash and pixels, each hash once.
            purpose: see `QueryLedger.begin`.
            progress: a bar on stderr.

        Returns:
            Whether all are answered; False: the budget is spent.

        Raises:
            ModelError: a request failed for good. Answers that came are recorded.
        """
        known = self._ledger.answers(self._service, purpose)
        if known:
            self._columns = len(next(iter(known.values())))
        todo = [(probe, image) for probe, image in images if probe not in known]
        pool = ThreadPoolExecutor(self._limits.concurrency, thread_name_prefix="sac_fast-query")
        tasks = [pool.submit(self._one, probe, image, purpose) for probe, image in todo]
        try:
            for task in track(tasks, "asking the service", enabled=progress):
                wait([task], return_when=FIRST_EXCEPTION)
                if task.exception() is not None:
                    break
        finally:
            self._stop.set()  # those that wait for an attempt end now
            pool.shutdown(wait=True, cancel_futures=True)
            self._stop.clear()
        errors = [error for task in tasks if not task.cancelled() and (error := task.exception()) is not None]
        for error in errors:
            if not isinstance(error, (BudgetSpentError, _StoppedError)):
                raise error
        return not errors

    def _one(self, probe: str, image: Pixels, purpose: Purpose) -> None:
        for attempt in range(self._limits.retries + 1):
            self._wait_for_turn()
            if self._stop.is_set():
                raise _StoppedError
            try:
                self._attempt(probe, image, purpose)
                return
            except AskError as error:
                if not error.retry or attempt == self._limits.retries:
                    tries = f" ({attempt + 1} attempts)" if attempt else ""
                    self._stop.set()
                    raise ModelError(f"service failed{tries}: {error}", reason="endpoint") from None
                delay = self._limits.backoff * 2**attempt * random.uniform(0.5, 1.5)
                if self._stop.wait(min(max(delay, error.wait), MAX_WAIT)):
                    raise _StoppedError from None

    def _attempt(self, probe: str, image: Pixels, purpose: Purpose) -> None:
        """One request, written down before and after.

        Raises:
            AskError: no answer that can be used.
            BudgetSpentError: no query is left.
        """
        try:
            query = self._ledger.begin(self._service, probe, purpose, budget=self._limits.budget)
        except BudgetSpentError:
            self._stop.set()
            raise
        started = time.monotonic()
        try:
            row = np.asarray(self._read(_only(self._ask(image[None]))), dtype=np.float64)
            self._check_width(row)
        except AskError as error:
            self._ledger.failed(query, str(error), in_doubt=error.in_doubt, seconds=time.monotonic() - started)
            raise
        except AnswerError as error:
            self._ledger.failed(query, str(error), in_doubt=False, seconds=time.monotonic() - started)
            raise AskError(escape_text(error), retry=False) from None
        except Exception as error:  # a user's function may raise anything
            message = escape_text(describe_error(error), 300)
            self._ledger.failed(query, message, in_doubt=False, seconds=time.monotonic() - started)
            raise AskError(message, retry=True) from error
        self._ledger.answered(query, row, seconds=time.monotonic() - started)

    def _check_width(self, row: npt.NDArray[np.float64]) -> None:
        with self._pace:
            if self._columns is None:
                self._columns = len(row)
            if len(row) != self._columns:
                raise AnswerError(f"answer must have {self._columns} values as before, got {len(row)}")

    def _wait_for_turn(self) -> None:
        """Keep the rate over all threads."""
        if self._limits.rate is None:
            return
        with self._pace:
            turn = max(self._next, time.monotonic())
            self._next = turn + 1 / self._limits.rate
        self._stop.wait(turn - time.monotonic())


class _StoppedError(Exception):
    """Another request ended the run."""


def _only(returned: Any) -> Any:
    """The answer for a batch of one image."""
    if hasattr(returned, "detach"):  # a torch tensor
        returned = returned.detach().cpu().numpy()
    if isinstance(returned, np.ndarray):
        returned = returned.tolist()
    if not isinstance(returned, (list, tuple)) or len(returned) != 1:
        found = f"{len(returned)}" if isinstance(returned, (list, tuple)) else type(returned).__name__
        raise AnswerError(f"answer must be a list with one entry for one image, got {found}")
    answer = returned[0]
    return answer.item() if isinstance(answer, np.generic) else answer.tolist() if hasattr(answer, "tolist") else answer
