"""Scores that compare answers, not correlations: they need models of the same classes in the same order."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def _agreement(source: Tensor, suspect: Tensor, truth: Tensor | None) -> float:
    return 1.0 - float((source.argmax(dim=1) == suspect.argmax(dim=1)).double().mean())


def _shared_errors(source: Tensor, suspect: Tensor, truth: Tensor | None) -> float:
    assert truth is not None  # `output_distance` asks for it
    mine, theirs = source.argmax(dim=1), suspect.argmax(dim=1)
    both = (mine != truth) & (theirs != truth)
    # Without a common error there is no sign of theft.
    return 1.0 - float((mine[both] == theirs[both]).double().mean()) if bool(both.any()) else 1.0


def _likelihood(source: Tensor, suspect: Tensor, truth: Tensor | None) -> float:
    answers = source.argmax(dim=1)
    return -float(torch.log_softmax(suspect.double(), dim=1).gather(1, answers[:, None]).mean())


_DISTANCES: dict[str, Callable[[Tensor, Tensor, Tensor | None], float]] = {
    "agreement": _agreement,
    "shared-errors": _shared_errors,
    "likelihood": _likelihood,
}
OUTPUT_SCORES = tuple(_DISTANCES)
#: Scores that need the probes' true labels.
NEED_LABELS = ("shared-errors",)


def output_distance(kind: str, source: Tensor, suspect: Tensor, labels: Tensor | None = None) -> float:
    """Distance of two models by their answers to the same probes.

    * ``agreement``: share of the probes on which the answers ``argmax_j o_ij`` differ. On probes that the source
      classifies wrongly this is the Hamming distance of AKH.
    * ``shared-errors``: among the probes on which both are wrong, the share with different wrong answers; 1 where
      there are none.
    * ``likelihood``: ``−(1/n) Σ_i log softmax(suspect_i)[argmax source_i]``.

    Args:
        kind: one of the three.
        source: (n, k) outputs, finite.
        suspect: (n, k') outputs, finite.
        labels: (n,) int64, the true labels, for ``shared-errors``.

    Returns:
        The distance, ≥ 0; NaN where k' is not k, since the answers then mean different things.

    Raises:
        ValueError: an unknown kind, rows that differ, or no labels where they are needed.

    Source: Godinot et al., "Queries, Representation & Detection", AAAI 2025 (AKH).
    """
    if kind not in _DISTANCES:
        raise ValueError(f"kind must be one of {', '.join(OUTPUT_SCORES)}, got {kind!r}")
    if len(source) != len(suspect):
        raise ValueError(f"suspect must have {len(source)} rows like source, got {len(suspect)}")
    if kind in NEED_LABELS and (labels is None or len(labels) != len(source)):
        got = "none" if labels is None else len(labels)
        raise ValueError(f"{kind} needs the true labels of all {len(source)} probes, got {got}")
    if source.shape[1] != suspect.shape[1]:
        return float("nan")
    return _DISTANCES[kind](source, suspect, labels)
