"""The copies of published networks and their distances as Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .members import CHANGES
from .networks import SOURCES


def markdown(results: Mapping[str, Any]) -> str:
    """Agreement of every copy with its source, then how many working copies lie below all honest models.

    Args:
        results: of bench_pretrained.py.
    """
    models, records = results["models"], results["records"]
    counted = sum(1 for name, about in models.items() if name not in SOURCES and about["works"])
    missing = [f"{source}-{change}" for source in SOURCES for change in CHANGES if f"{source}-{change}" not in models]
    lines = [
        "# Copies of EfficientNet-lite on photographs",
        "",
        f"Made by `python benchmarks/{results['command']}`. {len(models)} models, {counted} of them copies that work: "
        "the source's label on at least 80 % of 128 held-out photographs, or, with a new head, at least 60 % of the "
        "things on them told; the others are listed, not counted. In brackets the agreement on the photographs to "
        "whose label the source gives at least ½.",
        "",
        "| change | " + " | ".join(SOURCES) + " |",
        "| --- |" + " ---: |" * len(SOURCES),
    ]
    lines += [_row(change, models) for change in CHANGES if any(f"{source}-{change}" in models for source in SOURCES)]
    if missing:
        lines += ["", f"Not made in this run: {', '.join(missing)}."]
    lines += [
        "",
        "Working copies below every honest model (the other two sources and their copies; for weights the other two "
        "alone), by source:",
        "",
        "| statistic | " + " | ".join(SOURCES) + " | not below |",
        "| --- |" + " --- |" * (len(SOURCES) + 1),
    ]
    for statistic, probes in dict.fromkeys((record["statistic"], record["probes"]) for record in records):
        of = {r["source"]: r for r in records if (r["statistic"], r["probes"]) == (statistic, probes)}
        cells = [_below(of.get(source)) for source in SOURCES]
        above = [name for record in of.values() for name in record.get("not_below", [])]
        lines.append(f"| {statistic}, {probes} | " + " | ".join(cells) + f" | {', '.join(above) or 'none'} |")
    return "\n".join(lines) + "\n"


def _row(change: str, models: Mapping[str, Any]) -> str:
    cells = []
    for source in SOURCES:
        about = models.get(f"{source}-{change}")
        if about is None:
            cells.append("–")
            continue
        share = about["agreement"] if about["agreement"] is not None else about["accuracy_of_kinds"]
        sure = about["agreement_where_sure"]
        text = f"{share:.0%}" if sure is None else f"{share:.0%} ({sure:.0%})"
        cells.append(text if about["works"] else f"{text}, not counted")
    return f"| {change} | " + " | ".join(cells) + " |"


def _below(record: Mapping[str, Any] | None) -> str:
    if record is None or "copies" not in record:
        return "–"
    return f"{record['copies_below']} of {record['copies']}, {record['honest']} honest"
