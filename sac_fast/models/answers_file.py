"""Recorded answers to exported probes as outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from ..errors import FileFormatError, ProbeError
from ..formats.answers import read_answers_file
from ..formats.recorded import RecordedOutputs
from ..io.files import StrPath
from ..probes import ProbeSet
from ..probes.export import ExportedNames
from .endpoint import check_labels
from .endpoint_answer import AnswerError, read_answer
from .recorded_model import RecordedModel


def open_answers(path: StrPath, probes: ProbeSet, labels: Sequence[str] = ()) -> tuple[RecordedModel, list[int]]:
    """Read answers to files that `export_probes` wrote.

    Args:
        path: see `sac_fast.formats.answers.read_answers_file`.
        probes: the probe set that was exported.
        labels: names of the classes, in the order of the source's outputs; empty: answers are numbers.

    Returns:
        The answers as recorded outputs, and the positions of the probes that were answered, rising.

    Raises:
        FileFormatError: a file of another form, an unknown file or class, answers of several forms.
    """
    labels, name = check_labels(labels), repr(str(path))
    answers = read_answers_file(path)
    names = ExportedNames(probes)
    forms = {_form_of(answer) for answer in answers.values()}
    if len(forms) > 1:
        raise FileFormatError(f"{name} must hold answers of one form, got {' and '.join(sorted(forms))}")
    form = forms.pop()
    found: dict[int, list[float]] = {}
    for file, answer in answers.items():
        try:
            row, place = read_answer(_by_number(answer, labels), form, labels), names.position(file)
        except (AnswerError, ProbeError) as error:
            raise FileFormatError(f"{name}, {file[:80]!r}: {error}") from error
        if place in found:
            raise FileFormatError(f"{name} must hold each file once, got {file[:80]!r} twice")
        found[place] = row
    if len({len(row) for row in found.values()}) > 1:
        raise FileFormatError(f"{name} must hold answers of one length, got several")
    rows = sorted(found)
    outputs = torch.from_numpy(np.array([found[row] for row in rows]))
    recorded = RecordedOutputs(outputs, None, "labels" if form == "labels" else None)
    return RecordedModel("answers", recorded, name), rows


def _form_of(answer: Any) -> str:
    """How an answer is read; scores by name that are complete are the same as top-k."""
    if isinstance(answer, (str, int)):
        return "labels"
    by_name = isinstance(answer, Mapping) or (isinstance(answer, list) and any(isinstance(a, Mapping) for a in answer))
    return "top-k" if by_name else "logits"


def _by_number(answer: Any, labels: Sequence[str]) -> Any:
    """A table cannot tell the class named "7" from the number 7: the name counts."""
    return str(answer) if type(answer) is int and str(answer) in labels else answer
