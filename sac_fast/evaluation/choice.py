"""Choosing a statistic without a leak: chosen on some tasks and families of attacks, reported on the others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

#: By task, by family of attacks: the figure of merit of one statistic, larger is better.
Figures = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class Choice:
    """What was chosen for one cell, and how it did there.

    Attributes:
        task, family: of the cell, which had no part in the choice.
        statistic: chosen.
        figure: of the chosen statistic in the cell.
        best: the largest figure of any statistic in the cell, which nobody could have known.
    """

    task: str
    family: str
    statistic: str
    figure: float
    best: float


def choose_for(statistics: Mapping[str, Figures], task: str, family: str | None = None) -> str:
    """The statistic with the largest mean figure over the other tasks, and the other families where one is named.

    Args:
        statistics: figures of each statistic.
        task: left out; with one task alone only the family is.
        family: left out too. None: all families count.

    Returns:
        Its name; the first one of equal ones.

    Raises:
        ValueError: nothing is left to choose by.
    """
    tasks = {name for figures in statistics.values() for name in figures}
    merits = {}
    for name, figures in statistics.items():
        kept = [
            figure
            for of_task, by_family in figures.items()
            if of_task != task or len(tasks) == 1
            for of_family, figure in by_family.items()
            if of_family != family and np.isfinite(figure)
        ]
        if kept:
            merits[name] = float(np.mean(kept))
    if not merits:
        raise ValueError(f"statistics must have figures of tasks other than {task!r}, got none")
    return max(merits, key=merits.__getitem__)


def nested_choices(statistics: Mapping[str, Figures], *, leave_family_out: bool = False) -> list[Choice]:
    """A choice for every task and family, by what the other tasks (and families) show.

    Args:
        statistics: figures of each statistic, by task and family.
        leave_family_out: choose without the cell's family of attacks, in all tasks.
    """
    cells = {(task, family) for figures in statistics.values() for task, of in figures.items() for family in of}
    found = []
    for task, family in sorted(cells):
        try:
            chosen = choose_for(statistics, task, family if leave_family_out else None)
        except ValueError:
            continue
        here = {name: figures.get(task, {}).get(family, float("nan")) for name, figures in statistics.items()}
        known = [value for value in here.values() if np.isfinite(value)]
        if np.isfinite(here[chosen]):
            found.append(Choice(task, family, chosen, here[chosen], max(known)))
    return found
