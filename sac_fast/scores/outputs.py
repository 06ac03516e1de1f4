"""Scores that compare outputs directly, not correlations: both models need the same classes in the same order."""

from __future__ import annotations

import torch
from torch import Tensor

from ..ops.arguments import check_choice, check_same_probes

OUTPUT_SCORES = ("agreement", "shared-errors", "likelihood")
#: Scores that need the probes' true labels.
NEED_LABELS = ("shared-errors",)


def output_distance(kind: str, source: Tensor, suspect: Tensor, labels: Tensor | None = None) -> float:
    """Distance of two models from their outputs on the same probes.

    * ``agreement``: share of the probes on which the predicted labels ``argmax_j o_ij`` differ. On probes that the
      source misclassifies, this is the Hamming distance of AKH.
    * ``shared-errors``: share of different predicted labels among the probes that both misclassify; 1 if
      there are none.
    * ``likelihood``: ``−(1/n) Σ_i log softmax(suspect_i)[argmax source_i]``.

    Args:
        kind: one of the three.
        source: (n, k) outputs, finite.
        suspect: (n, k') outputs, finite.
        labels: (n,) int64, the true labels, for ``shared-errors``.

    Returns:
        The distance, ≥ 0; NaN if k' differs from k, since the outputs then have different meanings.

    Raises:
        ValueError: an unknown kind, different numbers of rows, or missing labels.

    Example::

        >>> import torch
        >>> source = torch.tensor([[2.0, 1.0], [0.0, 3.0]])
        >>> output_distance("agreement", source, source.flip(1)), output_distance("agreement", source, source)
        (1.0, 0.0)

    Source: Godinot et al., "Queries, Representation & Detection", AAAI 2025 (AKH).
    """
    check_choice("kind", kind, OUTPUT_SCORES)
    check_same_probes("suspect", suspect, source, "source")
    if kind in NEED_LABELS and (labels is None or len(labels) != len(source)):
        got = "none" if labels is None else len(labels)
        raise ValueError(f"{kind} needs the true labels of all {len(source)} probes, got {got}")
    if source.shape[1] != suspect.shape[1]:
        return float("nan")
    mine, theirs = source.argmax(dim=1), suspect.argmax(dim=1)
    if kind == "agreement":
        return 1.0 - float((mine == theirs).double().mean())
    if kind == "likelihood":
        return -float(torch.log_softmax(suspect.double(), dim=1).gather(1, mine[:, None]).mean())
    assert labels is not None  # checked above
    both = (mine != labels) & (theirs != labels)
    # Without a common error there is no evidence of theft.
    return 1.0 - float((mine[both] == theirs[both]).double().mean()) if bool(both.any()) else 1.0
