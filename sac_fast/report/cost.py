"""What it costs to compute a report's numbers again, before that is begun: its maker chose the sizes."""

from __future__ import annotations

from ..verify.rows import rows_of
from .case import SIBLINGS, SUSPECTS, Case

#: Most products that are computed unasked: 100 models with 10,000 probes and 1,000 outputs, minutes on one processor.
MAX_PRODUCTS = 10**13
# What reading a fingerprint takes, as products.
_READING = 10**7
# Statistics of a calibrated score, each with an arithmetic of its own.
_STATISTICS = 10


def count_products(case: Case) -> float:
    """At most so many products of two numbers stand in the distances of all tests: n² k of a model with n probes.

    What comes after a count beyond `MAX_PRODUCTS` is not counted.

    Raises:
        SacFastError: a fingerprint that is damaged.
    """
    shapes: list[tuple[int, int]] = []
    alone: set[str] = set()
    for model in case.models:
        fp = model.load()
        shapes.append((len(fp), fp.outputs.shape[1]))
        if model.role == SUSPECTS and rows_of(fp) is not None:
            alone.add(model.name)
    siblings, total = len(case.of_role(SIBLINGS)), 0.0
    for test in case.content["tests"]:
        rows = test["rows"]
        most = max(n for n, _ in shapes) if rows is None else len(rows)
        # A suspect that answered other probes is compared with all models anew.
        times = 1 + len(alone.intersection(test["verdicts"]["verdict"]))
        total += times * (_READING * siblings**2 + sum(_READING + min(n, most) ** 2 * k for n, k in shapes))
        calibration = case.calibration(test)
        if calibration is not None:
            values = calibration.stat().st_size / 4
            total += _STATISTICS * most * values * (1 + len(test["verdicts"]["verdict"]))
        if total > MAX_PRODUCTS:
            break
    return total
