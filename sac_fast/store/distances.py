"""Distances of the store's models to given sources."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from ..errors import StoreError
from ..io.choices import Comparison, Metric
from ..io.hashing import content_hash
from .database import bound
from .records import ResultKey, is_digest
from .session import StoreSession


class Source(Protocol):
    """A source of distances, such as `sac_fast.Fingerprint`."""

    @property
    def name(self) -> str:
        """Of the model."""

    @property
    def probe_hash(self) -> str:
        """Of the probes."""

    @property
    def outputs(self) -> Any:
        """``(n, k)``: a tensor on the CPU, or an array."""

    def __len__(self) -> int: ...


@dataclass(frozen=True)
class SourceDistance:
    """The distance of one model to one source.

    Attributes:
        source: `source_id` of the source.
        source_name: its name.
        metric, comparison: as in `sac_fast.correlation_distance`.
        name: of the model.
        probe_hash: of both.
        distance: 0.0 for identical models.
    """

    source: str
    source_name: str
    metric: Metric
    comparison: Comparison
    name: str
    probe_hash: str
    distance: float


def source_id(source: Source) -> str:
    """``"sha256:..."`` of a source's outputs and probes, whatever its name."""
    return content_hash({f"outputs of {source.probe_hash}": np.asarray(source.outputs)})


class DistanceRows(StoreSession):
    """The part of a store that keeps distances."""

    def add_distances(
        self, source: Source, metric: Metric, comparison: Comparison, distances: Iterable[tuple[ResultKey, float]]
    ) -> None:
        """Add distances of results to a source, replacing earlier ones; one commit.

        Args:
            source: fingerprint of the source, of the results' probes.
            metric: ``"cosine"``, …
            comparison: ``"l1"``, …
            distances: keys of results in the store, with their distances.

        Raises:
            ValueError: a distance that is not finite, or a key without a result or of other probes.
            StoreError: the disk is full or fails.
        """
        name, values = source_id(source), []
        with self.writing() as connection, self.transaction():
            for key, distance in distances:
                if not math.isfinite(distance):
                    raise ValueError(f"distance must be finite, got {distance} for {key}")
                if key.probe_hash != source.probe_hash:
                    raise ValueError(f"key must be of the source's probes {source.probe_hash}, got {key.probe_hash}")
                if not connection.execute("SELECT 1 FROM results WHERE digest = ?", (key.digest,)).fetchone():
                    raise ValueError(f"key must have outputs in the store, got one without: {key}")
                values.append((name, metric, comparison, key.digest, float(distance)))
            connection.execute(
                "INSERT OR REPLACE INTO sources VALUES (?, CAST(? AS TEXT), ?)",
                (name, bound(source.name), source.probe_hash),
            )
            connection.executemany("INSERT OR REPLACE INTO distances VALUES (?, ?, ?, ?, ?)", values)

    def distances(
        self,
        source: Source | str | None = None,
        *,
        metric: Metric | None = None,
        comparison: Comparison | None = None,
        name: str | None = None,
    ) -> Iterator[SourceDistance]:
        """Distances by source, metric, comparison and name of the model; each copy of a model has its row.

        Args:
            source: only those to this source, a fingerprint or its `source_id`.
            metric, comparison: only those of this kind.
            name: only those of this model.

        Yields:
            Distances.
        """
        wanted = source if source is None or isinstance(source, str) else source_id(source)
        model = None if name is None else bound(name)
        for row in self.rows(
            "SELECT d.source, s.name, d.metric, d.comparison, m.name, m.probe_hash, d.distance FROM distances d "
            "JOIN models m ON m.digest = d.digest JOIN sources s ON s.source = d.source "
            "WHERE (? IS NULL OR d.source = ?) AND (? IS NULL OR d.metric = ?) AND (? IS NULL OR d.comparison = ?) "
            "AND (? IS NULL OR m.name = CAST(? AS TEXT)) "
            "ORDER BY d.source, d.metric, d.comparison, m.name, m.probe_hash",
            *(wanted, wanted, metric, metric, comparison, comparison, model, model),
        ):
            if not all(isinstance(value, str) for value in row[:6]) or not isinstance(row[6], float):
                raise StoreError(f"the store's distances of the model {str(row[4])[:80]!r} are damaged")
            yield SourceDistance(*row)

    def missing_distances(
        self, source: Source, metric: Metric, comparison: Comparison, keys: Iterable[ResultKey]
    ) -> list[ResultKey]:
        """The keys without a distance to the source, in their order."""
        found = self.rows(
            "SELECT digest FROM distances WHERE source = ? AND metric = ? AND comparison = ?",
            *(source_id(source), metric, comparison),
        )
        known = {digest for (digest,) in found if is_digest(digest)}
        return [key for key in keys if key.digest not in known]
