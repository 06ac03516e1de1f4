"""A service's answer for one image as a row of numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from ..formats.json_text import is_finite_number
from .endpoint import MAX_LABELS

#: Larger numbers are no outputs.
_MAX_NUMBER = 1e30


class AnswerError(ValueError):
    """An answer that cannot be read."""


def read_answer(value: Any, form: str, labels: Sequence[str]) -> list[float]:
    """The row of outputs that an answer stands for.

    * ``labels``: a name of `labels`, or a class number; the row is the class number;
    * ``top-k``: ``[{"label": …, "score": …}, …]``, also ``{name: score, …}``; 0 for classes that are not listed;
    * other forms: one number a class, in a list or by name.

    Args:
        value: what came back, as JSON values.
        form: one of `sac_fast.models.endpoint.ANSWER_FORMS`.
        labels: names of the classes, in the order of the row.

    Returns:
        Finite numbers.

    Raises:
        AnswerError: another form, an unknown class, a number that is not finite.

    Example::

        >>> read_answer("dog", "labels", ["cat", "dog"])
        [1.0]
        >>> read_answer([{"label": "dog", "score": 0.75}], "top-k", ["cat", "dog"])
        [0.0, 0.75]
    """
    if form == "labels":
        return [float(_class_number(_single(value), labels))]
    named = _by_name(value)
    if named is None:
        if form == "top-k":
            _refuse('a list of {"label": …, "score": …}', value)
        if not isinstance(value, list) or not value:
            _refuse("a list of numbers", value)
        row = [_number(item) for item in _flat(value)]
        if labels and len(row) != len(labels):
            raise AnswerError(f"answer must have {len(labels)} numbers, one a class, got {len(row)}")
        return row
    if not labels:
        raise AnswerError("labels must be given to read an answer by names of classes, got none")
    row = [0.0] * len(labels)
    places = {name: place for place, name in enumerate(labels)}
    for name, score in named.items():
        if name not in places:
            _refuse(f"of the {len(labels)} classes in labels", name)
        row[places[name]] = _number(score)
    if form != "top-k" and len(named) != len(labels):
        raise AnswerError(f"answer must have a number for each of {len(labels)} classes, got {len(named)}")
    if form == "top-k" and not named:
        _refuse("a list of at least one class", value)
    return row


def _single(value: Any) -> Any:
    """The class in ``"cat"``, ``3``, ``["cat"]``, ``{"label": "cat"}``, or the first of a list of these with scores."""
    if isinstance(value, list) and value:
        scores = [item.get("score") if isinstance(item, Mapping) else None for item in value]
        if all(isinstance(score, (int, float)) for score in scores):
            value = value[max(range(len(value)), key=lambda place: _number(scores[place]))]
        elif len(value) == 1:
            value = value[0]
    return value["label"] if isinstance(value, Mapping) and "label" in value else value


def _class_number(value: Any, labels: Sequence[str]) -> int:
    if isinstance(value, str):
        if not labels:
            raise AnswerError("labels must be given to read an answer by names of classes, got none")
        if value not in labels:
            _refuse(f"one of the {len(labels)} classes in labels", value)
        return labels.index(value)
    if not is_finite_number(value) or value != int(value):
        _refuse("a class: a name or a number", value)
    if not 0 <= value < (len(labels) or MAX_LABELS):
        _refuse(f"a class number below {len(labels) or MAX_LABELS}", value)
    return int(value)


def _by_name(value: Any) -> dict[str, Any] | None:
    """Scores by class; None where the answer is no such thing."""
    if isinstance(value, Mapping):
        return dict(value)
    if not (isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value)):
        return None
    found: dict[str, Any] = {}
    for item in value:
        if not isinstance(item.get("label"), str) or "score" not in item:
            _refuse('a list of {"label": …, "score": …}', item)
        if item["label"] in found:
            _refuse("a list that names each class once", item["label"])
        found[item["label"]] = item["score"]
    return found


def _flat(value: list[Any]) -> list[Any]:
    """The numbers in ``[[…]]``: a batch of one image."""
    while len(value) == 1 and isinstance(value[0], list):
        value = value[0]
    return value


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        _refuse("numbers", value)
    if not is_finite_number(value) or abs(value) > _MAX_NUMBER:
        _refuse("finite numbers", value)
    return float(value)


def _refuse(expected: str, got: Any) -> NoReturn:
    shown = repr(got)
    raise AnswerError(f"answer must be {expected}, got {shown if len(shown) <= 80 else shown[:80] + '…'}")
