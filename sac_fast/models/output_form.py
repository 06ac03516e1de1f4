"""Output forms: what a model's outputs are, how they are told apart, and how one form is made from a stronger one.

Strongest first: logits, log-probabilities, probabilities, top-k, labels. Each can be made from every stronger one, so
two classifiers can always be compared in the weaker of their two forms. Similarities and embeddings are no outputs of
a classifier; they are compared with their own form only.

What cannot be told from the values, and needs to be declared:

* embeddings look like logits, unless their rows have length 1;
* logits that all lie in -1 … 1 look like similarities, and so do sigmoids of many labels;
* one column of whole numbers is taken for class numbers; it could be one logit that was rounded.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from ..io.choices import check_choice
from ..ops.reference import normalised_rows
from .form_detection import (
    check_output_form,
    decimals_of,
    detect_output_form,
    is_percentages,
    real_rows,
)
from .plain_forms import CLASSIFIER_FORMS, OUTPUT_FORMS, reason_of_ties

__all__ = [
    "CLASSIFIER_FORMS",
    "FLOOR",
    "MAX_ONE_HOT",
    "OUTPUT_FORMS",
    "TOP",
    "check_informative",
    "check_output_form",
    "decimals_of",
    "detect_output_form",
    "notes_of",
    "reason_of_ties",
    "score_rows",
    "to_form",
    "weakest_form",
]

#: Probabilities below it count as this much before their logarithm is taken.
FLOOR = 1e-6
#: Classes that `to_form` keeps for the form "top-k".
TOP = 5
#: Class numbers from here on are refused, and one-hot rows of more numbers than this: they would need too much memory.
MAX_CLASSES, MAX_ONE_HOT = 100_000, 1 << 28
_MIN_EFFECTIVE_LABELS, _MIN_EFFECTIVE_RANK, _MIN_DEVIATION = 1.25, 1.01, 1e-3
_MAX_EMPTY, _MAX_ROWS = 0.9, 1_000


def weakest_form(forms: Iterable[str]) -> str:
    """The form that outputs of all these forms can be brought to.

    Raises:
        ValueError: none, an unknown one, or forms that cannot be brought together.

    Example::

        >>> weakest_form(["logits", "labels", "probabilities"])
        'labels'
    """
    found = [check_choice("output_form", form, OUTPUT_FORMS) for form in forms]
    weakest = max(found, key=OUTPUT_FORMS.index, default=None)
    if weakest is None:
        raise ValueError("forms must hold at least one output form, got none")
    if weakest not in CLASSIFIER_FORMS and (other := next((form for form in found if form != weakest), None)):
        raise ValueError(f"outputs must all be {weakest} to be compared with {weakest}, got {other}")
    return weakest


def to_form(
    outputs: Tensor,
    form: str,
    *,
    current: str | None = None,
    classes: int | None = None,
    top: int = TOP,
    decimals: int | None = None,
) -> Tensor:
    """Outputs in another form.

    * ``log-probabilities``: ``log softmax``; of probabilities ``log max(p, 1e-6)``, or with half a unit of the last of
      ``decimals`` in place of 1e-6;
    * ``probabilities``: ``softmax``, rounded to ``decimals``; ``top-k``: likewise, 0 but for the ``top`` largest;
    * ``labels``: one-hot of the largest (the first of equals), or of the class numbers.

    A column of one sigmoid p becomes the probabilities ``(1 − p, p)``, one of a single logit the logits
    ``(log(1 − p), log p)`` of its sigmoid p.

    Args:
        outputs: (n, k) or (n,) real numbers, finite.
        form: one of `OUTPUT_FORMS`, not stronger than the current one; log-probabilities of probabilities are allowed.
        current: form of the outputs. Default: detected.
        classes: number of classes, for class numbers: that of the source. Default: the largest number + 1. Where a
            number is not below it, the numbers stand for their order only.
        top: number of classes that ``top-k`` keeps.
        decimals: to which probabilities are rounded. Default: as they are.

    Returns:
        (n, k) float64 if the outputs are float64, else float32.

    Raises:
        ValueError: an unknown form, one that cannot be made from the current one, or a class number that is too large.

    Example::

        >>> import torch
        >>> to_form(torch.tensor([2, 0]), "labels", classes=4).tolist()
        [[0.0, 0.0, 1.0, 0.0], [1.0, 0.0, 0.0, 0.0]]
        >>> to_form(torch.tensor([[0.25], [0.5]]), "probabilities").tolist()
        [[0.75, 0.25], [0.5, 0.5]]
    """
    check_choice("form", form, OUTPUT_FORMS)
    values = real_rows(outputs)
    rows = torch.from_numpy(values)
    current = detect_output_form(outputs) if current is None else check_choice("current", current, OUTPUT_FORMS)
    dtype = torch.float64 if outputs.dtype == torch.float64 else torch.float32
    if weakest_form((current, form)) != form and (current, form) != ("probabilities", "log-probabilities"):
        raise ValueError(f"form must be no stronger than the outputs' {current}, got {form!r}")
    if current not in CLASSIFIER_FORMS:
        return rows.to(dtype)
    if current == "labels":
        return _one_hot(rows, classes).to(dtype)
    rows = _two_columns(rows, current) if rows.shape[1] == 1 else rows
    if current in ("probabilities", "top-k") and is_percentages(values):
        rows = rows / 100
    if form == "labels":
        return torch.nn.functional.one_hot(rows.argmax(dim=1), rows.shape[1]).to(dtype)
    if form == "logits" or (form, current) == ("log-probabilities", "log-probabilities"):
        return rows.to(dtype)
    if form == "log-probabilities":
        if current == "logits":
            return torch.log_softmax(rows, dim=1).to(dtype)
        return rows.clamp(min=FLOOR if decimals is None else 0.5 * 10.0**-decimals).log().to(dtype)
    if current in ("logits", "log-probabilities"):
        rows = torch.softmax(rows, dim=1)
    if form == "top-k" and top < rows.shape[1]:
        kept = rows.topk(top, dim=1)
        rows = torch.zeros_like(rows).scatter_(1, kept.indices, kept.values)
    return (rows if decimals is None else rows.round(decimals=decimals)).to(dtype)


def score_rows(outputs: Tensor, form: str, *, decimals: int | None = None) -> Tensor:
    """The rows that scores take: one representation for each form, whatever form the model gave.

    * logits, similarities, embeddings: as they are; labels: one-hot;
    * log-probabilities, probabilities: ``log p`` as in `to_form`, minus its mean in each row where k > 2
      (the logits up to what softmax drops; two classes would be left with a sign);
    * top-k: likewise, where each class that is not listed has half the smallest probability that is.

    Args:
        outputs: (n, k) in the form, as `to_form` gives them.
        form: one of `OUTPUT_FORMS`.
        decimals: to which the probabilities were rounded.

    Returns:
        (n, k); float64 if the outputs are float64, else float32.

    Example::

        >>> import torch
        >>> score_rows(torch.tensor([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0]]), "top-k")
        tensor([[ 0.2310,  0.2310, -0.4621],
                [ 0.4621, -0.2310, -0.2310]])
    """
    if form in ("logits", "labels") or form not in CLASSIFIER_FORMS:
        return outputs
    if form == "top-k":
        listed = outputs > 0
        smallest = torch.where(listed, outputs, torch.inf).amin(dim=1, keepdim=True).clamp(max=1.0)
        logs = torch.where(listed, outputs, smallest / 2).log()
    else:
        logs = to_form(outputs, "log-probabilities", current=form, decimals=decimals)
    return logs - logs.mean(dim=1, keepdim=True) if logs.shape[1] > 2 else logs


def check_informative(outputs: Tensor, form: str, *, metric: str | None = None) -> str | None:
    """Why outputs are no evidence of descent; None if they may be.

    A test compares correlations of probes. It needs labels of which not nearly all are equal (effective number
    ``exp(entropy)`` ≥ 1.25), and correlations C that are neither all near ±1 (effective rank ``1 / mean C²`` ≥ 1.01)
    nor all equal (standard deviation ≥ 0.001). Constant outputs fail, and two classes under a centred correlation,
    which keeps their sign only.

    Args:
        outputs: (n, k) or (n,) outputs.
        form: their form, one of `OUTPUT_FORMS`.
        metric: of the correlations, as for `sac_fast.correlation_distance`. Default: ``"pearson"``; ``"cosine"`` for
            two columns. Of more than 1,000 probes, 1,000 evenly spaced ones are used.

    Returns:
        The reason in a few words, to follow the name of the model; or None.

    Example::

        >>> import torch
        >>> check_informative(torch.arange(10.0).softmax(0).expand(50, 10), "probabilities")
        'outputs hardly vary: effective rank 1.00 of the correlations, a test needs 1.01'
        >>> check_informative(torch.arange(30.0).reshape(10, 3).square(), "logits", metric="cosine")
    """
    rows = to_form(outputs, form, current=form)
    if form == "labels":
        shares = rows.double().mean(dim=0)
        effective = float(torch.special.entr(shares).sum().exp())
        if effective < _MIN_EFFECTIVE_LABELS:
            return (
                f"one label for {float(shares.max()):.0%} of the probes: effective number of labels {effective:.2f}, "
                f"a test needs {_MIN_EFFECTIVE_LABELS}"
            )
    rows = score_rows(rows, form)
    n, k = len(rows), rows.shape[1]
    take = min(n, _MAX_ROWS)
    rows = normalised_rows(rows[torch.arange(take) * n // take], metric or ("pearson" if k > 2 else "cosine"))
    centred = metric in ("pearson", "spearman")
    empty = float((rows == 0).all(dim=1).double().mean())
    if empty > _MAX_EMPTY:
        return f"all values are equal in {empty:.0%} of the rows"
    products = rows @ rows.T
    off = products[~torch.eye(take, dtype=torch.bool)]
    rank = 1 / max(float(off.square().mean()), 1e-300) if take > 1 else 1.0
    if rank < _MIN_EFFECTIVE_RANK:
        what = "centred correlations of two outputs are ±1" if centred and k <= 2 else "outputs hardly vary"
        return f"{what}: effective rank {rank:.2f} of the correlations, a test needs {_MIN_EFFECTIVE_RANK}"
    if float(off.std()) < _MIN_DEVIATION:
        return f"the correlations of all pairs of probes are equal within {_MIN_DEVIATION}"
    return None


def notes_of(outputs: Tensor, form: str, *, rows: int | None = None) -> list[str]:
    """What is to be said of a model's outputs: that they hardly vary.

    Args:
        outputs: (n, k).
        form: their form.
        rows: of which so many are looked at; None: all, see `check_informative`.
    """
    n = len(outputs)
    take = torch.arange(n) if rows is None or rows >= n else torch.arange(rows) * n // rows
    reason = check_informative(outputs[take], form) if n > 2 else None
    return [f"the outputs are no evidence: {reason}"] if reason else []


def _one_hot(rows: Tensor, classes: int | None) -> Tensor:
    if rows.shape[1] > 1:
        return torch.nn.functional.one_hot(rows.argmax(dim=1), rows.shape[1])
    numbers = rows[:, 0]
    if float(numbers.min()) < 0:  # −1 and 1: the two classes of a margin
        numbers = (numbers + 1) / 2
    if classes is None:
        classes = int(numbers.max()) + 1
        if classes > MAX_CLASSES:
            raise ValueError(f"class numbers must be below {MAX_CLASSES}, got {classes - 1}")
    if float(numbers.max()) >= classes:
        distinct, numbers = torch.unique(numbers, return_inverse=True)
        classes = max(classes, len(distinct))
    if len(rows) * classes > MAX_ONE_HOT:
        raise ValueError(f"labels must make at most {MAX_ONE_HOT:,} one-hot numbers, got {len(rows)} × {classes}")
    return torch.zeros(len(rows), classes).scatter_(1, numbers.long()[:, None], 1.0)


def _two_columns(rows: Tensor, current: str) -> Tensor:
    """One sigmoid or one logit of two classes as the outputs of both."""
    if current == "logits":
        return torch.nn.functional.logsigmoid(torch.cat([-rows, rows], dim=1))
    if current == "probabilities":
        return torch.cat([1 - rows, rows], dim=1)
    raise ValueError(f"outputs of the form {current} must have at least two columns, got one")
