"""Accuracy on labelled probes, and models whose accuracy says that they were asked in another way than the others."""

from __future__ import annotations

import re
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from ..probes import Probes
from .preprocessing import REMEDY

#: Models that must be there before one of them is far below.
MIN_MODELS = 4
_STATED = re.compile(r"accuracy (\d{1,3}\.\d{2})% on the probes' labels")
_MIN_DROP = 0.2
_DEVIATIONS = 4.0


def share_named(outputs: NDArray[Any], labels: NDArray[Any]) -> float | None:
    """The share of rows whose largest value (the first of equals) is in the column that the label says.

    Args:
        outputs: ``(n, k)``.
        labels: whole numbers ``(n,)``.

    Returns:
        The share; None for a single column, another number of rows, and labels that are no columns.
    """
    n, k = outputs.shape
    if k < 2 or len(labels) != n or int(labels.min()) < 0 or int(labels.max()) >= k:
        return None
    return float((outputs.argmax(1) == labels).mean())


def accuracy_of(outputs: NDArray[Any], labels: NDArray[Any] | None, probes: Mapping[str, Any]) -> float | None:
    """The share of probes whose class the outputs name.

    Args:
        outputs: ``(n, k)``.
        labels: class numbers ``(n,)``; None: there are none.
        probes: provenance of the probes.

    Returns:
        The accuracy; None where there are no labels, labels of other classes, or probes that were chosen by what
        models answer (SAC-w), on which it says nothing.
    """
    if labels is None or any(step.get("kind") == "misclassified" for step in probes.get("selection", ())):
        return None
    return share_named(outputs, labels)


def stated_of(outputs: NDArray[Any], probes: Probes) -> dict[str, float]:
    """``{"accuracy": …}`` for the provenance of a fingerprint; empty where there is none."""
    found = accuracy_of(outputs, probes.labels, probes.provenance)
    return {} if found is None else {"accuracy": found}


def describe_accuracy(accuracy: float) -> str:
    """An accuracy as a note; `stated_accuracy` is the inverse."""
    return f"accuracy {accuracy:.2%} on the probes' labels"


def is_accuracy(note: str) -> bool:
    """Whether a note says an accuracy."""
    return _STATED.match(note) is not None


def stated_accuracy(message: str | None) -> float | None:
    """The accuracy with which a message begins; None where it begins with none."""
    found = _STATED.match(message or "")
    return None if found is None else float(found[1]) / 100


def low_accuracies(found: Mapping[str, float | None], others: Sequence[float] = ()) -> list[str]:
    """A line for each model that is far below the median: by a fifth, and by four deviations of the rest.

    Args:
        found: accuracies by name; None of models that have none.
        others: accuracies of models that are not judged.

    Returns:
        Lines for people; none where fewer than `MIN_MODELS` have an accuracy.
    """
    known = {name: value for name, value in found.items() if value is not None}
    all_of_them = [*known.values(), *others]
    if len(all_of_them) < MIN_MODELS:
        return []
    middle = statistics.median(all_of_them)
    spread = 1.4826 * statistics.median(abs(value - middle) for value in all_of_them)
    limit = middle - max(_MIN_DROP, _DEVIATIONS * spread)
    why = f"it knows other classes, or takes other inputs (--size, --mean, --std, {REMEDY})"
    return [
        f"{name}: accuracy {value:.1%} is far below that of the others (median {middle:.1%}): {why}"
        for name, value in known.items()
        if value < limit
    ]
