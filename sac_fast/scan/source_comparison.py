"""The sources of a scan, and the distances of models to them."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast, get_args

import numpy as np
from numpy.typing import NDArray

from .. import _backend
from ..io.choices import Comparison, Metric, VectorMetric
from ..models.plain_forms import is_plain, reason_of_ties
from ..neighbours.search import distances_from
from ..neighbours.vectors import views
from ..store.store import ModelStore
from .jobs import ScanError

if TYPE_CHECKING:  # where outputs are plain no torch is imported
    from torch import Tensor

    from ..fingerprint import Fingerprint
    from ..models.common_form import FormedOutputs

Array = NDArray[Any]


class ComparedSource:
    """A source, as models are compared with it.

    Args:
        name, probe_hash: of the source.
        outputs: ``(n, k)``.
        fingerprint: that they are of, which may declare their form; None: nobody has declared one.
    """

    def __init__(self, name: str, probe_hash: str, outputs: Array, fingerprint: Fingerprint | None = None) -> None:
        self.name, self.probe_hash, self.outputs = name, probe_hash, outputs
        self.is_plain = not (fingerprint is not None and fingerprint.is_form_declared) and is_plain(outputs)
        self._fingerprint = fingerprint

    @functools.cached_property
    def formed(self) -> FormedOutputs:
        """The outputs with their form, which is looked at where it is needed."""
        return _formed(self.outputs) if self._fingerprint is None else self._fingerprint.formed

    def __len__(self) -> int:
        return len(self.outputs)


@dataclass
class SourceComparison:
    """The sources, and how models are compared with them."""

    sources: Sequence[ComparedSource]
    metric: Metric
    comparison: Comparison

    def distances(self, source: ComparedSource, outputs: Sequence[Array]) -> list[float | None]:
        """The distance of each model to a source, in the weaker of their output forms; None for forms that cannot be
        compared and for outputs whose correlations are all equal. The same bits for any number of models in a call.
        """
        has_kernel = _backend.is_compiled() and self.comparison == "l1" and self.metric in get_args(VectorMetric)
        kinds = [(one.dtype, has_kernel and source.is_plain and is_plain(one)) for one in outputs]
        found: dict[int, float] = {}
        for kind in dict.fromkeys(kinds):  # one float64 in a call has the others computed in float64 too
            some = {index: one for index, one in enumerate(outputs) if kinds[index] == kind}
            found |= self._of_plain(source, some) if kind[1] else self._of_forms(source, some)
        return [found.get(index) for index in range(len(outputs))]

    def _of_plain(self, source: ComparedSource, outputs: Mapping[int, Array]) -> dict[int, float]:
        """Of outputs that are compared as they are: by the kernel alone, without torch."""
        varied = {index: one for index, one in outputs.items() if not reason_of_ties(one, self.metric)}
        if not varied or reason_of_ties(source.outputs, self.metric):
            return {}
        mine, *theirs = views([source.outputs, *varied.values()])
        distances = distances_from(mine, theirs, metric=cast(VectorMetric, self.metric))
        dtype = np.result_type(source.outputs, *varied.values())  # of `correlation_distances`
        return dict(zip(varied, distances.astype(dtype).tolist(), strict=True))

    def _of_forms(self, source: ComparedSource, outputs: Mapping[int, Array]) -> dict[int, float]:
        """Of outputs that are brought to a form first."""
        from ..models.common_form import CommonForm, common_form

        found: dict[int, float] = {}
        theirs = {index: _formed(one) for index, one in outputs.items()}
        groups: dict[CommonForm, list[int]] = {}
        for index, one in theirs.items():
            with contextlib.suppress(ValueError):
                groups.setdefault(common_form([source.formed, one]), []).append(index)
        for form, indices in groups.items():
            mine = form.rows(source.formed)
            rows = {index: form.rows(theirs[index]) for index in indices}
            varied = {index: own for index, own in rows.items() if not reason_of_ties(own, self.metric)}
            if varied and not reason_of_ties(mine, self.metric):
                found |= zip(varied, self._of_rows(mine, list(varied.values())), strict=True)
        return found

    def _of_rows(self, mine: Tensor, theirs: list[Tensor]) -> list[float]:
        from ..ops import correlation_distance, correlation_distances

        if self.comparison == "l1":
            found: list[float] = correlation_distances(mine, theirs, metric=self.metric).tolist()
            return found
        metric, comparison = self.metric, self.comparison
        return [float(correlation_distance(mine, one, metric=metric, comparison=comparison)) for one in theirs]


def _formed(outputs: Array) -> FormedOutputs:
    import torch

    from ..models.common_form import formed

    return formed(torch.from_numpy(outputs))


def load_source(store: ModelStore, source: Fingerprint | str, probe_hash: str) -> ComparedSource:
    """A source, which may be a name of the store's.

    Raises:
        ScanError: no such model with outputs, or one of other probes.
    """
    if isinstance(source, str):
        record = store.record_for(source, probe_hash)
        if record is None or record.status != "done":
            why = "no model of that name" if record is None else f"{record.status}: {record.reason or ''}"
            wanted = "a fingerprint or a model with outputs for the probes"
            raise ScanError(f"source {source!r} must be {wanted}, got {why}")
        return ComparedSource(record.name, record.probe_hash, store.output_array(record))
    if source.probe_hash != probe_hash:
        wanted = f"of the scan's probes {probe_hash}"
        raise ScanError(f"source {source.name!r} must be {wanted}, got {source.probe_hash}")
    return ComparedSource(source.name, source.probe_hash, source.array, source)
