"""BlackBox: a model that can only be asked, through a function or a service."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ..errors import ModelError, require
from ..io.hashing import hash_json
from ..ops.arguments import check_choice
from ..probes import Probes, ProbeSet
from ..probes.export import image_key
from .endpoint import ANSWER_FORMS, Endpoint, check_labels
from .endpoint_answer import read_answer
from .endpoint_http import HttpPredict
from .endpoint_ledger import QueryLedger
from .endpoint_queries import Limits, QueryRun
from .endpoint_secrets import Secrets

Predict = Callable[[npt.NDArray[np.uint8]], Any]


@dataclass(frozen=True, eq=False)
class Drift:
    """Whether answers change between two requests with the same image.

    Attributes:
        repeated: images that were asked for twice.
        changed: those with another answer: another class for labels, else any other number.
        largest: largest absolute difference of two numbers; None for labels.
    """

    repeated: int
    changed: int
    largest: float | None


class BlackBox:
    """A model that can only be asked.

    Args:
        predict: gets uint8 images ``(1, H, W, 3)``, RGB, and returns a list or an array with one answer: a class name
            or number, one number a class, or ``[{"label": …, "score": …}, …]``. It may be called from several threads
            where ``concurrency`` is above 1; what it raises is tried again.
        output_form: one of `sac_fast.models.endpoint.ANSWER_FORMS`.
        labels: names of the classes, in the order of the source's outputs; empty: answers are numbers.
        name: for reports.
        ledger: where every query is written down, so that none is asked twice; None: in memory.
        key: what tells this model from others in the ledger; None: its name, form and labels.
        budget: most queries, over all runs with this ledger; None: no limit.
        repeats: so many probes are asked a second time, to see whether answers change.
        rate, concurrency, retries: see `sac_fast.models.endpoint_queries.Limits`.

    Example::

        >>> def predict(images):
        ...     return ["bright" if image.mean() > 127 else "dark" for image in images]
        >>> box = BlackBox(predict, "labels", ["dark", "bright"])
        >>> probes = sac_fast.ProbeSet.from_arrays(np.stack([np.full((4, 4, 3), v, np.uint8) for v in (0, 255, 9)]))
        >>> sac_fast.fingerprint(box, probes, name="theirs").outputs.flatten().tolist()
        [0.0, 1.0, 0.0]
        >>> box.counts["asked"]
        3
    """

    def __init__(
        self,
        predict: Predict,
        output_form: str = "probabilities",
        labels: Sequence[str] = (),
        *,
        name: str = "black box",
        ledger: QueryLedger | None = None,
        key: str | None = None,
        budget: int | None = None,
        repeats: int = 0,
        rate: float | None = None,
        concurrency: int = 1,
        retries: int = 2,
    ) -> None:
        check_choice("output_form", output_form, ANSWER_FORMS)
        require(callable(predict), "predict must be a function", type(predict).__name__, TypeError)
        require(budget is None or (type(budget) is int and budget > 0), "budget must be an integer above 0", budget)
        require(type(repeats) is int and repeats >= 0, "repeats must be an integer of at least 0", repeats)
        self.name, self.output_form, self.labels = name, output_form, check_labels(labels)
        self.repeats = repeats
        self._predict = predict
        self._limits = Limits(rate, concurrency, retries, budget=budget)
        self._ledger = ledger or QueryLedger(":memory:")
        if ledger is None:
            weakref.finalize(self, self._ledger.close)
        self.address = name
        if key is None:
            key = hash_json({"name": name, "output_form": output_form, "labels": list(self.labels)})
        if isinstance(predict, HttpPredict):
            self.address = predict.endpoint.url.partition("?")[0]
        self.key = key
        self._service = self._ledger.service(key, self.address)

    @classmethod
    def of_endpoint(
        cls,
        endpoint: Endpoint,
        *,
        name: str = "service",
        secrets: Secrets | None = None,
        ledger: QueryLedger | None = None,
        budget: int | None = None,
        repeats: int = 0,
    ) -> BlackBox:
        """The model behind a service; arguments as of the class.

        Raises:
            ModelError: see `HttpPredict`.
        """
        return cls(
            HttpPredict(endpoint, secrets), endpoint.output_form, endpoint.labels, name=name, ledger=ledger,
            key=endpoint.key, budget=budget, repeats=repeats, rate=endpoint.rate, concurrency=endpoint.concurrency,
            retries=endpoint.retries,
        )  # fmt: skip

    @property
    def counts(self) -> dict[str, int]:
        """Queries by what came of them, see `QueryLedger.counts`."""
        return self._ledger.counts(self._service)

    def ask(self, probes: Probes, *, progress: bool = False) -> torch.Tensor:
        """Outputs for probes; only what the ledger does not know is asked for.

        Args:
            probes: n images; inputs that were recorded are refused.
            progress: a bar on stderr.

        Returns:
            (n, k) float64; k = 1 for labels.

        Raises:
            ModelError: a request failed for good, or the budget is spent; what came is in the ledger.
        """
        if not isinstance(probes, ProbeSet):
            raise ModelError("a service must be asked with images, got recorded inputs")
        keys = [image_key(image) for image in probes.images]
        images = dict(zip(keys, probes.images, strict=True))
        run = QueryRun(self._predict, self._read, self._ledger, self._service, self._limits)
        try:
            complete = run.run(images.items(), "first", progress=progress)
            if complete:
                again = self._ledger.answers(self._service, "repeat")
                left = [key for key in images if key not in again][: max(0, self.repeats - len(again))]
                # a spent budget leaves fewer of them
                run.run([(key, images[key]) for key in left], "repeat")
        finally:
            if isinstance(self._predict, HttpPredict):
                self._predict.close()
        known = self._ledger.answers(self._service, "first")
        if not complete:
            done = sum(key in known for key in images)
            message = f"budget of {self._limits.budget} queries is spent: {done} of {len(images)} probes are answered"
            raise ModelError(f"{message}; they are kept", reason="budget")
        return torch.from_numpy(np.stack([known[key] for key in keys]))

    def form_of(self, outputs: torch.Tensor) -> str | None:
        """The form that outputs of `ask` are declared to have; None: to be detected."""
        listed = isinstance(self._predict, HttpPredict) and self._predict.endpoint.protocol == "hugging-face"
        if self.output_form == "top-k" or (listed and self.output_form != "labels"):
            return None  # a list of all classes holds probabilities
        return self.output_form

    def drift(self) -> Drift:
        """What the repeats show."""
        first, again = (self._ledger.answers(self._service, purpose) for purpose in ("first", "repeat"))
        pairs = [(first[key], row) for key, row in again.items() if key in first]
        changed = sum(not np.array_equal(a, b) for a, b in pairs)
        largest = max((float(np.abs(a - b).max()) for a, b in pairs if len(a) == len(b)), default=0.0)
        return Drift(len(pairs), changed, None if self.output_form == "labels" else largest)

    def summary(self) -> dict[str, Any]:
        """Where the model is and what it was asked, as JSON values."""
        drift = self.drift()
        more = {"repeated": drift.repeated, "changed": drift.changed, "largest_change": drift.largest}
        return {"address": self.address, "queries": self.counts, **more}

    def seconds_a_query(self) -> float | None:
        """Median seconds of an answered query; None before the first one."""
        return self._ledger.seconds_a_query(self._service)

    def _read(self, answer: Any) -> list[float]:
        return read_answer(answer, self.output_form, self.labels)
