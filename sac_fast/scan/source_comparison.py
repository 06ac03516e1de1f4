"""The sources of a scan, and the distances of models to them."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ..fingerprint import Fingerprint
from ..io.choices import Comparison, Metric
from ..models.common_form import CommonForm, common_form, formed
from ..models.output_form import reason_of_ties
from ..ops import correlation_distance, correlation_distances
from ..store.store import ModelStore
from .jobs import ScanError


@dataclass
class SourceComparison:
    """The sources, and how models are compared with them."""

    sources: Sequence[Fingerprint]
    metric: Metric
    comparison: Comparison

    def distances(self, source: Fingerprint, outputs: Sequence[torch.Tensor]) -> list[float | None]:
        """The distance of each model to a source, in the weaker of their output forms; None for forms that cannot be
        compared and for outputs whose correlations are all equal. The same bits for any number of models in a call.
        """
        found: list[float | None] = [None] * len(outputs)
        groups: dict[CommonForm, list[int]] = {}
        for index, one in enumerate(outputs):
            with contextlib.suppress(ValueError):
                groups.setdefault(common_form([source.formed, formed(one)]), []).append(index)
        for form, indices in groups.items():
            mine = form.rows(source.formed)
            rows = {index: form.rows(formed(outputs[index])) for index in indices}
            theirs = {index: own for index, own in rows.items() if not reason_of_ties(own, self.metric)}
            if not theirs or reason_of_ties(mine, self.metric):
                continue
            for index, distance in zip(theirs, self._of_rows(mine, list(theirs.values())), strict=True):
                found[index] = distance
        return found

    def _of_rows(self, mine: torch.Tensor, theirs: list[torch.Tensor]) -> list[float]:
        if self.comparison == "l1":
            found: list[float] = correlation_distances(mine, theirs, metric=self.metric).tolist()
            return found
        metric, comparison = self.metric, self.comparison
        return [float(correlation_distance(mine, one, metric=metric, comparison=comparison)) for one in theirs]


def load_source(store: ModelStore, source: Fingerprint | str, probe_hash: str) -> Fingerprint:
    """The fingerprint of a source, which may be a name of the store's.

    Raises:
        ScanError: no such model with outputs, or one of other probes.
    """
    if isinstance(source, str):
        record = store.record_for(source, probe_hash)
        if record is None or record.status != "done":
            why = "no model of that name" if record is None else f"{record.status}: {record.reason or ''}"
            wanted = "a fingerprint or a model with outputs for the probes"
            raise ScanError(f"source {source!r} must be {wanted}, got {why}")
        source = store.fingerprint(record)
    if source.probe_hash != probe_hash:
        wanted = f"of the scan's probes {probe_hash}"
        raise ScanError(f"source {source.name!r} must be {wanted}, got {source.probe_hash}")
    return source
