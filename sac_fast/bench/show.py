"""The results as tables for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..io.console import console


def seconds_text(seconds: float) -> str:
    """Three digits and a unit."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e6:.3g} µs"


def show_results(results: Mapping[str, Any]) -> None:
    """Print hardware, limits, every case with its peers, and the targets."""
    out = console()
    _hardware(results, out)
    for record in results["records"]:
        if record["sweep"] is None:
            _record(record, out)
    sweeps = [record for record in results["records"] if record["sweep"] is not None]
    for letter in ("n", "k", "m"):
        exponents = results["exponents"].get(letter, {})
        _sweep(letter, [record for record in sweeps if record["sweep"] == letter], exponents, out)
    _targets(results, out)


def _hardware(results: Mapping[str, Any], out: Console) -> None:
    hardware = results["hardware"]
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items() if version)
    out.print(Text(f"{hardware['processor']}; {hardware['cores']} cores, {hardware['memory_bytes'] / 2**30:.0f} GiB"))
    out.print(
        Text(
            f"{hardware['threads']} threads, kernels {hardware['instruction_set']}, torch {hardware['torch_cpu']}; "
            f"load {hardware['load_average_before']:.1f} before, {hardware['load_average_after']:.1f} after"
        )
    )
    out.print(Text(versions))
    for name, limit in results["limits"].items():
        out.print(Text(f"limit: {name}: {limit['rate']:.4g} {limit['unit']}"))
    for name, reason in results["limits_missing"].items():
        out.print(Text(f"limit: {name}: not measured: {reason}", style="yellow"))
    for name, reason in results["peers_missing"].items():
        out.print(Text(f"missing peer: {name}: {reason}", style="yellow"))


def _record(record: Mapping[str, Any], out: Console) -> None:
    out.print()
    out.print(Text(record["case"], style="bold"), Text(f"(checked: {record['checked']})"))
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("implementation", min_width=46)
    for column in ("time", "rate", "ours is faster by", "error"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("of the machine's limit")
    for name, entry in record["implementations"].items():
        reason = entry.get("missing") or entry.get("refused")
        if reason is not None:
            table.add_row(Text(name), Text("—"), "", "", "", Text(reason, style="yellow", overflow="fold"))
            continue
        fraction = f"{entry['fraction']:.0%} of {entry['limit']}" if "fraction" in entry else ""
        table.add_row(
            Text(name),
            seconds_text(entry["seconds"]),
            f"{entry['rate']:.3g} {record['unit']}",
            "" if entry["ratio"] == 1 else f"{entry['ratio']:.3g}×",
            f"recall {entry['recall']:.1%}" if "recall" in entry else f"{entry['error']:.1e}",
            Text(fraction),
        )
    out.print(table)
    for name, value in record.get("agreement", {}).items():
        out.print(Text(f"{name.replace('_', ' ')}: {value:.6g}"))
    for target in record["targets"]:
        out.print(_target(target))


def _target(target: Mapping[str, Any]) -> Text:
    value = "not measured" if target["value"] is None else f"{target['value']:.4g}"
    met, style = {True: ("met", "green"), False: ("NOT MET", "bold red"), None: ("not known", "yellow")}[target["met"]]
    return Text.assemble(f"target: {target['text']}: {value}, ", (met, style))


def _sweep(letter: str, records: list[Mapping[str, Any]], exponents: Mapping[str, float], out: Console) -> None:
    if not records:
        return
    out.print()
    fixed = ", ".join(f"{name} = {value:,}" for name, value in records[0]["shape"].items() if name != letter)
    out.print(Text(f"{records[0]['op']}: time against {letter} ({fixed})", style="bold"))
    names = list(dict.fromkeys(name for record in records for name in record["implementations"]))
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(letter, justify="right")
    for name in names:
        table.add_column(name, justify="right")
    for record in records:
        entries = [record["implementations"].get(name, {}) for name in names]
        times = [seconds_text(entry["seconds"]) if "seconds" in entry else "—" for entry in entries]
        table.add_row(f"{record['shape'][letter]:,}", *times)
    table.add_row(f"{letter}^", *(f"{exponents[name]:.2f}" if name in exponents else "—" for name in names))
    out.print(table)


def _targets(results: Mapping[str, Any], out: Console) -> None:
    judged = [target for record in results["records"] for target in record["targets"]]
    out.print()
    met = sum(target["met"] is True for target in judged)
    words = f"{met} of {len(judged)} targets met" if judged else "small sizes: no targets judged"
    out.print(Text(f"{words}, {results['seconds']:g} s"))
