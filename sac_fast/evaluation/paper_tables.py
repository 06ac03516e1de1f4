"""AUCs over the paper's attacks, task by task, and the cells that fall short."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .sources import PAPER
from .tables import format_rows

#: Cells below this AUC are listed.
TARGET = 0.95
_QUERIES = 200


def paper_markdown(results: Mapping[str, Any]) -> list[str]:
    """Mean AUC over the paper's attacks by task and number of queries, then the attacks whose cells fall short.

    Args:
        results: results of `evaluate_sources`.

    Returns:
        Lines; none where no source has siblings.
    """
    rows = [row for row in results["statistics"] if "cells" in row]
    tasks = list(dict.fromkeys(source["task"] for source in results["sources"]))
    if not rows:
        return []
    lines = ["## The paper's attacks: mean AUC by task", ""]
    table = []
    for row in sorted(rows, key=lambda row: (row["statistic"], row["queries"] or 1 << 40)):
        queries = str(row["queries"] or f"all, up to {row['most_queries']}")
        by_task = [_mean(_of_task(row["paper_auc_by_source"], task)) for task in tasks]
        everything = _mean(list(row["paper_auc_by_source"].values()))
        table.append([row["statistic"], queries, *by_task, everything])
    lines += format_rows(["statistic", "queries", *tasks, "all sources"], table)
    for budget in (None, _QUERIES):
        for row in (row for row in rows if row["queries"] == budget):
            lines += ["", f"Cells below {TARGET} of {row['statistic']}, {budget or 'all'} queries: {_short(row)}."]
    return [*lines, ""]


def _short(row: Mapping[str, Any]) -> str:
    """Attack by attack the sources below the target, with their AUC."""
    attacks: dict[str, list[str]] = {}
    for source, cells in row["cells"].items():
        for attack, value in cells.items():
            if attack.startswith(PAPER) and value < TARGET:
                attacks.setdefault(attack, []).append(f"{source} {value:.2f}")
    return "; ".join(f"{attack} ({', '.join(of)})" for attack, of in sorted(attacks.items())) or "none"


def _of_task(by_source: Mapping[str, float | None], task: str) -> list[float | None]:
    return [value for key, value in by_source.items() if key.split("/")[0] == task]


def _mean(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{np.mean(known):.3f}" if known else "–"
