"""What is said of outputs without torch: the names of their forms, and which of them are compared as they are."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Forms of a classifier's outputs, the strongest first, then the two that are compared with themselves only.
OUTPUT_FORMS = ("logits", "log-probabilities", "probabilities", "top-k", "labels", "similarities", "embeddings")
#: Forms of a classifier's outputs, the strongest first.
CLASSIFIER_FORMS = OUTPUT_FORMS[:5]
#: How far above 0 a log-probability may be.
LOG_TOLERANCE = 1e-2


def row_not_finite(outputs: NDArray[Any]) -> int | None:
    """The first row of ``(n, k)`` that holds NaN or Inf; None if there is none."""
    finite = np.isfinite(outputs).all(1)
    return None if finite.all() else int(finite.argmin())


def is_plain(outputs: NDArray[Any]) -> bool:
    """Whether outputs are certainly logits, similarities or embeddings, whose rows are compared as they are.

    Every other form of two columns or more has no value below 0, or none above that of a log-probability. Two models
    of which nothing is declared are compared by `sac_fast.models.common_form` in the same way where both are plain.

    Args:
        outputs: (n, k); those that are not finite are not plain.

    Example::

        >>> import numpy as np
        >>> is_plain(np.array([[0.5, -0.25], [1.0, 0.0]])), is_plain(np.array([[0.5, 0.5], [1.0, 0.0]]))
        (True, False)
    """
    return (
        outputs.shape[1] > 1
        and -math.inf < float(outputs.min()) < 0
        and LOG_TOLERANCE < float(outputs.max()) < math.inf
    )


def reason_of_ties(rows: Any, metric: str) -> str | None:
    """Why correlations of rows say nothing at all, whatever the other model: all are equal, or signs of one column.

    `check_informative` is the rule of tests, which need more than that.

    Args:
        rows: (n, k) tensor or array as scores take them, see `score_rows`.
        metric: of the correlations.

    Returns:
        The reason in a few words, to follow the name of the model; or None.

    Example::

        >>> import torch
        >>> reason_of_ties(torch.tensor([[1.0], [-2.0], [3.0]]), "cosine")
        'outputs of one column have correlations of ±1 or 0 only'
        >>> reason_of_ties(torch.tensor([[1.0, 0.0], [0.5, 2.0]]), "cosine")
    """
    if rows.shape[1] == 1:
        return "outputs of one column have correlations of ±1 or 0 only"
    if metric in ("pearson", "spearman") and bool((rows == rows[:, :1]).all()):
        return "the values of each row are equal"
    if bool((rows == rows[:1]).all()):
        return "all rows are equal"
    return None
