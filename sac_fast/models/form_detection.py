"""Which form a model's outputs have, by their values. It imports no torch; tensors are looked at as arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError
from ..io.choices import check_choice
from .plain_forms import LOG_TOLERANCE, OUTPUT_FORMS, row_not_finite

if TYPE_CHECKING:
    from torch import Tensor

Rows = NDArray[np.float64]

#: Reason of the ModelError of a declared form that outputs cannot have.
WRONG_FORM = "wrong-form"
# float16 keeps 11 bits: a sum of rounded probabilities is off by at most 2⁻¹¹.
_SUM_TOLERANCE = 2e-3
_UNIT_TOLERANCE = 1e-3
_MAX_DECIMALS = 4
# Every form but logits is a property of all rows: a few rows show that most models have none of them.
_FIRST_ROWS = 16
# What may be declared, by what the values look like.
_DECLARABLE = {
    "logits": ("logits", "similarities", "embeddings"),
    "log-probabilities": ("log-probabilities",),
    "probabilities": ("probabilities",),
    "top-k": ("top-k", "probabilities"),
    "labels": ("labels", "top-k", "probabilities"),
    "similarities": ("similarities", "logits", "embeddings"),
    "embeddings": ("embeddings", "similarities", "logits"),
}


def detect_output_form(outputs: Tensor | NDArray[Any]) -> str:
    """The form that a model's outputs have by their values.

    * ``labels``: one column of whole numbers from 0 on (class numbers) or of −1 and 1; or rows with a single 1;
    * ``probabilities``: values in 0 … 1 (or 0 … 100), rows with sum 1 (100), also rounded to 1–4 decimals or float16;
      one column in 0 … 1: a sigmoid, the probability of the second of two classes;
    * ``top-k``: likewise, but at most half of the classes of a row are above 0, or all rows leave classes out and sums
      are below 1;
    * ``log-probabilities``: rows with ``log Σ exp = 0``;
    * ``embeddings``: rows of length 1; ``similarities``: other values in -1 … 1;
    * ``logits``: everything else. The text of `sac_fast.models.output_form` says what cannot be told apart.

    Args:
        outputs: (n, k) or (n,) real numbers, finite.

    Returns:
        One of `OUTPUT_FORMS`.

    Raises:
        ValueError: another shape, NaN or Inf.

    Example::

        >>> import torch
        >>> detect_output_form(torch.tensor([[0.25, 0.75], [0.5, 0.5]])), detect_output_form(torch.tensor([3, 0, 7]))
        ('probabilities', 'labels')
    """
    few = _detect(real_rows(outputs[:_FIRST_ROWS]))
    return few if few == "logits" or len(outputs) <= _FIRST_ROWS else _detect(real_rows(outputs))


def check_output_form(outputs: Tensor | NDArray[Any], form: str) -> str:
    """Check that a declared form is possible.

    Returns:
        The form.

    Raises:
        ValueError: an unknown form, or one that the values contradict.

    Example::

        >>> import torch
        >>> check_output_form(torch.tensor([[2.0, -1.0], [0.5, 3.0]]), "embeddings")
        'embeddings'
    """
    check_choice("output_form", form, OUTPUT_FORMS)
    looks = detect_output_form(outputs)
    column = looks == "labels" and real_rows(outputs).shape[1] == 1
    possible = ("labels", "logits", "embeddings") if column else _DECLARABLE[looks]
    if form not in possible:
        raise ValueError(f"output_form must be {' or '.join(possible)} for these outputs, got {form!r}")
    return form


def form_of(outputs: Tensor | NDArray[Any], declared: str | None) -> str:
    """The declared form, else the detected one; a ModelError for one that the outputs cannot have."""
    try:
        return detect_output_form(outputs) if declared is None else check_output_form(outputs, declared)
    except ValueError as error:
        raise ModelError(str(error), reason=WRONG_FORM) from error


def decimals_of(outputs: Tensor | NDArray[Any]) -> int | None:
    """To how many decimals probabilities were rounded, 1 … 4; None if they were not.

    Example::

        >>> import torch
        >>> decimals_of(torch.tensor([[0.125, 0.875], [0.5, 0.5]])), decimals_of(torch.tensor([[1 / 3, 2 / 3]]))
        (3, None)
    """
    rows = real_rows(outputs)
    rows = rows / 100 if is_percentages(rows) else rows
    for decimals in range(1, _MAX_DECIMALS + 1):
        scaled = rows * 10.0**decimals
        # float32 has an error of 6e-8 for values up to 1.
        if bool(np.abs(scaled - scaled.round()).max() <= 2e-7 * 10.0**decimals):
            return decimals
    return None


def real_rows(outputs: Tensor | NDArray[Any]) -> Rows:
    """(n, k) float64, finite."""
    shape = tuple(outputs.shape)
    if outputs.ndim not in (1, 2) or 0 in shape or "complex" in str(outputs.dtype):
        raise ValueError(f"outputs must be real (n, k) or (n,), n and k at least 1, got {outputs.dtype} {shape}")
    if isinstance(outputs, np.ndarray):
        rows: Rows = outputs.astype(np.float64, copy=False)
    else:
        rows = outputs.detach().cpu().double().numpy()
    rows = rows[:, None] if outputs.ndim == 1 else rows
    if (row := row_not_finite(rows)) is not None:
        raise ValueError(f"outputs must be finite, got NaN or Inf in row {row}")
    return rows


def is_percentages(rows: Rows) -> bool:
    """Whether rows of two columns or more that hold probabilities hold them in percent, as some endpoints do."""
    if rows.shape[1] == 1:
        return False
    middle = (len(rows) - 1) // 2  # the lower of two
    return float(np.partition(rows.sum(1), middle)[middle]) > 50


def _detect(rows: Rows) -> str:
    k = rows.shape[1]
    low, high = float(rows.min()), float(rows.max())
    if k == 1:
        return _detect_column(rows, low, high)
    percentages = is_percentages(rows)
    if low >= 0 and high <= (100 if percentages else 1) + _SUM_TOLERANCE:
        found = _detect_probabilities(rows / 100 if percentages else rows)
        if found is not None:
            return found
    if high <= LOG_TOLERANCE and bool((np.abs(_log_sums(rows)) <= LOG_TOLERANCE).all()):
        return "log-probabilities"
    if max(-low, high) <= 1 + _UNIT_TOLERANCE:
        unit = bool((np.abs(np.square(rows).sum(1) - 1) <= _UNIT_TOLERANCE).all())
        return "embeddings" if unit else "similarities"
    return "logits"


def _log_sums(rows: Rows) -> Rows:
    """``log Σ exp`` of each row."""
    largest = rows.max(1)
    sums: Rows = largest + np.log(np.exp(rows - largest[:, None]).sum(1))
    return sums


def _detect_column(rows: Rows, low: float, high: float) -> str:
    if bool((rows == rows.round()).all()) and (low >= 0 or bool((np.abs(rows) == 1).all())):
        return "labels"
    if low >= 0 and high <= 1:
        return "probabilities"
    return "similarities" if max(-low, high) <= 1 else "logits"


def _detect_probabilities(rows: Rows) -> str | None:
    """The form of rows with values in 0 … 1, where they are probabilities."""
    k, sums, listed = rows.shape[1], rows.sum(1), (rows > 0).sum(1)
    decimals = decimals_of(rows)
    # Each rounded value is off by half a unit of its last decimal, those that became 0 included.
    tolerance = _SUM_TOLERANCE if decimals is None else max(_SUM_TOLERANCE, 0.5 * k * 10.0**-decimals)
    if bool((sums > 1 + tolerance).any()):
        return None
    most = int(listed.max())
    if most == 1 and bool((sums >= 1 - _SUM_TOLERANCE).all()):
        return "labels"
    complete = bool((sums >= 1 - tolerance).all())
    if most > 0 and (most <= k // 2 or (most < k and not complete)):
        return "top-k"
    return "probabilities" if complete else None
