"""Row transforms of a model's outputs, applied before they are correlated, by name.

A name is a chain of steps with ``+`` between them, from left to right: ``raw``, ``softmax(4)``,
``softmax(1)+standardize``. A step with a temperature T in brackets takes ``softmax(o / T)``; without brackets T = 1.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable

import torch
from torch import Tensor

from ..ops.arguments import finite_rows

_STEP = re.compile(r"([a-z-]+)(?:\(([^()]*)\))?")
#: Value of all classes but the predicted one, which has 1, for models that return labels only (reference scripts).
_OTHER_LABEL = 0.01


def _standardize(o: Tensor) -> Tensor:
    rows = o - o.mean(dim=1, keepdim=True)
    columns = rows - rows.mean(dim=0)
    deviation = columns.square().mean(dim=0).sqrt()
    # A constant column may have a tiny deviation by rounding.
    varies = deviation > 1e-12 * rows.abs().amax(dim=0).clamp(min=torch.finfo(o.dtype).tiny)
    return torch.where(varies, columns / torch.where(varies, deviation, 1.0), 0.0)


def centred_within(rows: Tensor, groups: Tensor) -> Tensor:
    """The rows minus the mean row of their group.

    Args:
        rows: (n, k) floating point.
        groups: (n,) int64 ≥ 0.
    """
    # Renumbered 0, 1, …, since labels may be large.
    _, number = torch.unique(groups, return_inverse=True)
    counts = torch.bincount(number)
    sums = torch.zeros(len(counts), rows.shape[1], dtype=rows.dtype).index_add_(0, number, rows)
    return rows - (sums / counts[:, None])[number]


def _labels(o: Tensor) -> Tensor:
    one_hot = torch.nn.functional.one_hot(o.argmax(dim=1), o.shape[1]).to(o.dtype)
    return torch.softmax(one_hot.clamp(min=_OTHER_LABEL), dim=1)


#: Steps without a parameter.
MAX_STEPS = 8  # of one transform
PLAIN_STEPS: dict[str, Callable[[Tensor], Tensor]] = {
    "raw": lambda o: o,
    "standardize": _standardize,
    "within-classes": lambda o: centred_within(o, o.argmax(dim=1)),
    "labels": _labels,
}
#: Steps with a temperature, as functions of o / T.
TEMPERATURE_STEPS: dict[str, Callable[[Tensor], Tensor]] = {
    "softmax": lambda o: torch.softmax(o, dim=1),
    "log-softmax": lambda o: torch.log_softmax(o, dim=1),
    "hellinger": lambda o: torch.softmax(o, dim=1).sqrt(),
}


def parse_transform(name: str) -> list[tuple[str, float | None]]:
    """Parse the name of a transform.

    Args:
        name: steps with ``+`` between them.

    Returns:
        Steps with their temperature (None for steps without one), in order.

    Raises:
        ValueError: an unknown step, or a temperature that is not positive and finite.

    Example::

        >>> parse_transform("softmax(4)+standardize")
        [('softmax', 4.0), ('standardize', None)]
    """
    steps: list[tuple[str, float | None]] = []
    if (count := name.count("+") + 1) > MAX_STEPS:
        raise ValueError(f"transform must have at most {MAX_STEPS} steps, got {count:,}")
    for part in name.split("+"):
        match = _STEP.fullmatch(part)
        if match is None or match[1] not in (*PLAIN_STEPS, *TEMPERATURE_STEPS):
            known = ", ".join([*PLAIN_STEPS, *(f"{step}(T)" for step in TEMPERATURE_STEPS)])
            raise ValueError(f"transform must be made of {known}, with + between them, got {part!r}")
        step, number = match.groups()
        if step in PLAIN_STEPS:
            if number is not None:
                raise ValueError(f"transform {step!r} must come without a parameter, got {part!r}")
            steps.append((step, None))
            continue
        try:
            temperature = 1.0 if number is None else float(number)
        except ValueError:
            temperature = math.nan
        if not 0 < temperature < math.inf:
            raise ValueError(f"temperature of {step!r} must be positive and finite, got {number!r}")
        steps.append((step, temperature))
    return steps


def transform_rows(outputs: Tensor, name: str) -> Tensor:
    """Transform a model's outputs row by row.

    * ``raw``: ``o``;
    * ``softmax(T)``: ``softmax(o / T)``; ``log-softmax(T)``: its logarithm;
    * ``hellinger(T)``: its square root, so that cosines are Bhattacharyya coefficients;
    * ``standardize``: rows centred on their mean, then columns of mean 0 and variance 1 over the probes (a constant
      column becomes 0);
    * ``within-classes``: rows minus the mean row of the probes with the same predicted label;
    * ``labels``: for models that return labels only: softmax of 1 at the predicted label and 0.01 elsewhere.

    Args:
        outputs: (n, k) floating point, finite.
        name: steps with ``+`` between them.

    Returns:
        (n, k) float64 if the outputs are float64, else float32.

    Raises:
        ValueError: an unknown name, or NaN or Inf (the message names the row).

    Example::

        >>> import torch
        >>> transform_rows(torch.tensor([[0.0, 0.0], [1.0, 1.0]]), "softmax(2)").tolist()
        [[0.5, 0.5], [0.5, 0.5]]
    """
    steps = parse_transform(name)
    finite_rows("outputs", outputs)
    rows = outputs.double()
    for step, temperature in steps:
        rows = PLAIN_STEPS[step](rows) if temperature is None else TEMPERATURE_STEPS[step](rows / temperature)
    return rows if outputs.dtype == torch.float64 else rows.float()
