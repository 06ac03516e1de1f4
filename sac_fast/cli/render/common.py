"""What the command line prints: tables for people, or one JSON document for machines."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from ...io.console import console, print_json
from ...io.text import escape_text

if TYPE_CHECKING:
    from ...fingerprint import Fingerprint
    from ...probes import EngineDifference, ProbeSet, ProbeVerification, RecordedInputs

#: Colours of verdicts.
STYLES = {"derived": "bold red", "derived (approximate)": "red", "not distinguished": "green", "inconclusive": "yellow"}


def make_table(folded: Iterable[str], numbers: Iterable[str] = ()) -> Table:
    """A table without lines.

    Args:
        folded: headings of columns of text, which may take several lines.
        numbers: headings of the columns after these, to the right and on one line.
    """
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in folded:
        table.add_column(heading, overflow="fold")
    for heading in numbers:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def print_result(result: dict[str, Any], as_json: bool, name: str) -> None:
    """Print a result as JSON of its name, or as names and values."""
    print_json(result, name) if as_json else print_pairs(result)


def print_pairs(rows: dict[str, Any]) -> None:
    """Print names and values; the values may be untrusted."""
    table = Table(show_header=False, box=None, pad_edge=False)
    for name, value in rows.items():
        table.add_row(Text(name, style="bold"), Text(escape_text(value)))
    console().print(table)


def show_info(info: dict[str, Any], as_json: bool) -> None:
    """Print what `sac_fast.cli.info.installation` found."""
    if as_json:
        print_json(info, "info")
        return

    def listed(value: Any) -> str:
        if isinstance(value, list):
            return ", ".join(str(item) for item in value) or "none"
        return "no" if value in (None, False) else "yes" if value is True else str(value)

    rows = {name.replace("_", " "): listed(value) for name, value in info.items()}
    if not info["compiled"]:
        rows["compiled"] = f"no ({info['load_error']}); everything runs on the backend 'reference'"
    del rows["load error"]
    print_pairs(rows)


def show_probes(probes: ProbeSet, out: Path, as_json: bool) -> None:
    """Print what a probe file holds."""
    n, height, width, _ = probes.images.shape
    steps = [step for step in probes.provenance.get("augmentation", []) if step.get("kind") == "jpeg"]
    jpeg = steps[-1] if steps else {}
    source = probes.provenance.get("source", {})
    skipped, passed_over = source.get("skipped", []), source.get("ignored", {})
    converted, classes = source.get("converted", {}), source.get("classes", [])
    result = {
        "file": str(out),
        "probes": n,
        "height": height,
        "width": width,
        "kind": probes.provenance.get("kind"),
        "jpeg_quality": jpeg.get("quality"),
        "jpeg_engine": jpeg.get("engine"),
        "exact": jpeg.get("exact"),
        "skipped": len(skipped),
        "passed_over": passed_over,
        "converted_to_rgb": converted,
        "labelled": probes.labels is not None,
        "probe_hash": probes.content_hash,
    }
    notes = [f"{count:,} passed over: {what}" for what, count in passed_over.items()]
    notes += [f"{count:,} images of mode {mode} made RGB" for mode, count in converted.items()]
    if classes != sorted(classes):
        notes.append(f"classes are numbered in the order {', '.join(classes[:12])}{', …' if len(classes) > 12 else ''}")
    show_notes(notes)
    print_result(result, as_json, "probes")


def describe_inputs(inputs: RecordedInputs) -> dict[str, Any]:
    """What recorded inputs hold."""
    arrays = {name: f"{array.dtype} {array.shape}" for name, array in inputs.arrays.items()}
    about = {"labelled": inputs.labels is not None, "probe_hash": inputs.content_hash}
    return {"probes": len(inputs), "inputs": arrays, **about}


def show_inputs(inputs: RecordedInputs, out: Path, as_json: bool) -> None:
    """Print what a file of recorded inputs holds."""
    print_result({"file": str(out), **describe_inputs(inputs)}, as_json, "probes.import")


def show_engines(found: list[EngineDifference], count: int, as_json: bool) -> None:
    """Print how far each JPEG engine is from Pillow."""
    if as_json:
        print_json({"probes": count, "engines": [dataclasses.asdict(row) for row in found]}, "probes.engines")
        return
    table = make_table(("engine", "device", "values that differ", "mean", "largest", "PSNR", "model's distance"))
    for row in found:
        if row.unavailable is not None or row.share is None:
            table.add_row(row.engine, row.device, Text(f"did not run: {row.unavailable}"))
            continue
        psnr = "∞" if row.psnr is None else f"{row.psnr:.2f} dB"
        distance = "" if row.distance is None else f"{row.distance:.3g}"
        table.add_row(row.engine, row.device, f"{row.share:.2%}", f"{row.mean:.3g}", str(row.largest), psnr, distance)
    console().print(table)


def show_probe_verification(result: ProbeVerification, as_json: bool) -> None:
    """Print for every probe whether its recipe makes it again."""
    equal = sum(image.equal for image in result.images)
    if as_json:
        print_json({"equal": result.equal, "equal_images": equal, **dataclasses.asdict(result)}, "probes.verify")
        return
    # names, reasons and notes repeat what the recipe says, which may be untrusted
    for image in result.images:
        print(escape_text(f"{image.name}: {'equal' if image.equal else image.reason}"))
    for line in result.selection:
        print(escape_text(f"selection: {line}"))
    for line in result.notes:
        print(escape_text(f"note: {line}"))
    print(f"{equal} of {len(result.images)} probes are equal, pixel for pixel")


def show_notes(notes: Iterable[str]) -> None:
    """Print on stderr what was taken for what; the notes may be untrusted."""
    for note in notes:
        print(f"sac-fast: {escape_text(note)}", file=sys.stderr)


def show_fingerprint(fingerprint: Fingerprint, out: Path, as_json: bool) -> None:
    """Print what a fingerprint file holds."""
    n, k = fingerprint.array.shape
    result = {
        "file": str(out),
        "name": fingerprint.name,
        "probes": n,
        "outputs": k,
        "kind": fingerprint.kind,
        "output_form": fingerprint.output_form,
        "model_hash": fingerprint.model_hash,
        "probe_hash": fingerprint.probe_hash,
    }
    if (service := fingerprint.provenance.get("service")) is not None:
        result["service"] = service if as_json else describe_service(service)
    print_result(result, as_json, "fingerprint")


def describe_service(service: dict[str, Any]) -> str:
    """How many queries a service took, and whether its answers changed."""
    queries = service["queries"]
    more = [f"{queries[state]} {state}" for state in ("repeated", "failed", "in doubt") if queries[state]]
    text = f"{service['address']}, {queries['asked']} queries" + (f" ({', '.join(more)})" if more else "")
    if service["repeated"]:
        text += f"; {service['changed']} of {service['repeated']} answers changed when asked again"
    return text
