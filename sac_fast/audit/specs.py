"""What a case file says of models, probes, siblings, packs and queries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..models.endpoint import Endpoint
from ..models.preprocessing import Preprocessing


@dataclass(frozen=True)
class ModelSpec:
    """One model or several, as a case names them. Exactly one of `path`, `service`, `answers` and `predict`.

    Attributes:
        path: a model file, a folder, a pattern with ``*``, a scan store, a labelled zoo or a fingerprint.
        service: where a service is, and how it is asked.
        answers: answers to exported probes, see `open_answers`.
        predict: ``"package.module:function"``, see `BlackBox`.
        name: in the report; None: the file's.
        kind: of independents: what they have in common with the source.
        architecture, arguments: of weights: ``"package.module:callable"`` and its keyword arguments.
        preprocessing: from pixels to inputs; None: the source's.
        output: which of several outputs.
        output_form: of `answers`, `predict` and source; None: by the values.
        labels: names of the classes, for `answers` and `predict`.
    """

    path: str | None = None
    service: Endpoint | None = None
    answers: str | None = None
    predict: str | None = None
    name: str | None = None
    kind: str | None = None
    architecture: str | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    preprocessing: Preprocessing | None = None
    output: int | str | None = None
    output_form: str | None = None
    labels: Sequence[str] = ()

    @property
    def asked(self) -> bool:
        """Whether queries are sent."""
        return self.service is not None or self.predict is not None

    @property
    def shown(self) -> str:
        """For messages."""
        where = self.service.url.partition("?")[0] if self.service is not None else None
        return self.name or self.path or self.answers or self.predict or where or "model"


@dataclass(frozen=True)
class ProbesSpec:
    """What models are compared on.

    Attributes:
        images: folder of images, HDF5 file or probe file.
        size: ``[H, W]`` to resize to; None: as the images are.
        limit: largest number.
        seed: of the draw where `limit` takes some.
        severity: JPEG severity 1 … 5; None: the images as they are.
    """

    images: str
    size: tuple[int, int] | None = None
    limit: int | None = None
    seed: int = 0
    severity: int | None = None


@dataclass(frozen=True)
class SiblingsSpec:
    """Models of the source's own recipe with other seeds.

    Attributes:
        train: ``"package.module:function"``, see `make_siblings`.
        count: how many.
        folder: of siblings that are there already.
        workers: processes of the training; None: one a core.
    """

    train: str | None = None
    count: int = 19
    folder: str | None = None
    workers: int | None = None


@dataclass(frozen=True)
class QueriesSpec:
    """How much services are asked.

    Attributes:
        looks: probes at each look, rising, see `plan_looks`.
        spending: see `plan_looks`.
        budget: most queries to one service; None: the largest look, the repeats and a quarter more.
        repeats: probes that are asked twice.
        ledger: file that several cases share; None: the case's own.
    """

    looks: tuple[int, ...] = (100, 200)
    spending: str = "exact"
    budget: int | None = None
    repeats: int = 10
    ledger: str | None = None

    @property
    def most(self) -> int:
        """Largest number of queries to one service."""
        return self.budget or (self.looks[-1] * 5) // 4 + self.repeats


@dataclass(frozen=True)
class PackSpec:
    """A pack of others' answers: its independents are independents of the case, its siblings siblings.

    Attributes:
        at: a file, or ``https://…``.
        hash: SHA-256 of the file, from its maker.
    """

    at: str
    hash: str
