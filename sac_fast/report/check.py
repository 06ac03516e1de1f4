"""Check a report: every hash, every number, and the signature."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import FileFormatError, SacFastError
from ..formats.json_text import parse_json
from ..formats.limits import MAX_JSON_BYTES
from ..io.files import MAX_PATH, Holes, StrPath, file_size, open_regular, read_regular
from ..io.hashing import hash_json, sha256_stream
from ..io.version import package_version
from .case import Case, load_case
from .cost import MAX_PRODUCTS, count_products
from .document import make_document
from .files import PAGE_FILE, REPORT_FILE, SIGNATURE_FILE, read_sums, to_text
from .page import make_page
from .signature import check_signature

# Numbers that another processor computes may differ in their last digits.
_RELATIVE, _ABSOLUTE = 1e-6, 1e-9
#: Fields of `Verdicts` that do not follow from fingerprints.
_NOT_RECOMPUTED = ("weights",)
# Of all files of a report together: it is written without any, and some copies are made with them.
_MAX_HOLES = 64 << 20
_SENTENCES = ("why", "reason", "hypothesis", "conditions", "warnings")


@dataclass(frozen=True)
class ReportCheck:
    """What a check of a report found.

    Attributes:
        folder: of the report.
        findings: what is wrong, one sentence each; empty: nothing.
        numbers: how many numbers were computed again and compared.
        files: how many files have the hash that is stated.
        signed_by: key id of the signature that was verified; None: none was.
        notes: what was not checked.
    """

    folder: Path
    findings: tuple[str, ...]
    numbers: int
    files: int
    signed_by: str | None
    notes: tuple[str, ...]

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings

    def to_dict(self) -> dict[str, Any]:
        """All fields as JSON values."""
        fields = dataclasses.asdict(self)
        lists = {name: list(fields[name]) for name in ("findings", "notes")}
        return {**fields, "folder": str(self.folder), **lists, "sound": self.sound}


def check_report(folder: StrPath, *, key: StrPath | None = None, max_products: float = MAX_PRODUCTS) -> ReportCheck:
    """Compare all files with their hashes, compute every number from the fingerprints, verify the signature.

    Args:
        folder: of `write_report`; it may be untrusted.
        key: PEM file of the public key by which the report must be signed. It is never taken from the report.
        max_products: a report whose distances take more products of two numbers is not computed again, which is a
            finding.

    Returns:
        What was found. Without a key a sound report is consistent with itself, and nothing is known of who made it.

    Raises:
        SacFastError: the key cannot be read, or the library that verifies is not there.
    """
    folder = Path(folder)
    findings: list[str] = []
    notes: list[str] = []
    try:
        sums = read_sums(folder)
        case = load_case(folder)
    except (SacFastError, OSError) as error:
        return ReportCheck(folder, (str(error),), 0, 0, None, ())
    findings += _wrong_files(case, sums)
    numbers = 0
    if not findings:
        try:
            if (products := count_products(case)) > max_products:
                found = f"its distances take {products:.1e} products or more, allowed are {max_products:.0e}"
                raise FileFormatError(f"{found} (--no-limit computes them all the same)")
            numbers = sum(1 for test in case.content["tests"] for _ in _numbers(test["verdicts"]))
            findings += _wrong_numbers(case)
            findings += _wrong_report(case, notes)
        except Exception as error:  # what the verdicts of others raise has no end
            findings.append(f"the verdicts cannot be computed again: {type(error).__name__}: {error}")
    if any(test["verdicts"].get(name) for test in case.content["tests"] for name in _NOT_RECOMPUTED):
        notes.append("weights were not compared again: their files are not part of the report")
    signed_by: str | None = None
    if key is not None:
        signed_by, wrong = check_signature(folder, key)
        findings += wrong
    else:
        signed = (folder / SIGNATURE_FILE).exists()
        notes.append(
            f"self-consistent only: {'the signature was not verified' if signed else 'no signature'}, no key given"
        )
    return ReportCheck(folder, tuple(findings), numbers, len(sums), signed_by, tuple(notes))


def _wrong_files(case: Case, sums: dict[str, str]) -> Iterator[str]:
    """Files whose bytes are not those that SHA256SUMS states, and files that it must name and does not."""
    needed = {"verdicts.json", REPORT_FILE, PAGE_FILE}
    needed |= {file.relative_to(case.folder).as_posix() for file in case.files()}
    yield from (f"{name} is not named in SHA256SUMS" for name in sorted(needed - set(sums)))
    root = case.folder.resolve()
    seen: set[tuple[int, int]] = set()
    holes = Holes(_MAX_HOLES)
    for name, stated in sums.items():
        path = str(root / name)
        if len(path) > MAX_PATH or os.path.realpath(path) != path:  # Path.resolve ends by RuntimeError on a loop
            yield f"{name:.500} lies outside of the folder, or is a link"
            continue
        try:
            found = _hash_once(case.folder / name, seen, holes)
        except (SacFastError, OSError) as error:
            yield str(error)
            continue
        if found != stated:
            yield f"{name} has changed: {found}, stated {stated}"


def _hash_once(path: Path, seen: set[tuple[int, int]], holes: Holes) -> str:
    """The hash of a file; a second name of one before and holes could make a small report cost hours."""
    with open_regular(path) as handle:
        about = os.fstat(handle.fileno())
        if (about.st_dev, about.st_ino) in seen:
            raise FileFormatError(f"{str(path)!r} must be a file of its own, got a second name of another")
        seen.add((about.st_dev, about.st_ino))
        holes.add(repr(str(path)), handle)
        return sha256_stream(handle)


def _wrong_numbers(case: Case) -> Iterator[str]:
    """Values of verdicts.json that do not follow from the fingerprints."""
    skipped = {*_NOT_RECOMPUTED, *(() if _is_ours(case) else _SENTENCES)}
    for test in case.content["tests"]:
        yield from _differences("verdicts", test["verdicts"], case.judge(test).to_dict(), skipped)
    if (case.folder / "protocol.json").is_file():
        content = parse_json(read_regular(case.folder / "protocol.json", MAX_JSON_BYTES), "protocol.json")
        found, stated = hash_json(content["protocol"]), case.content["protocol_hash"]
        if found != stated:
            yield f"protocol.json has the hash {found}, the verdicts state {stated}"


def _is_ours(case: Case) -> bool:
    """Whether this version of sac_fast judged."""
    return bool(case.content["versions"].get("sac_fast") == package_version())


def _differences(place: str, stated: Any, found: Any, skipped: set[str]) -> Iterator[str]:
    if isinstance(found, dict) and isinstance(stated, dict):
        for name in sorted({*found, *stated} - skipped):
            if name not in found or name not in stated:
                yield f"{place}.{name} is {'missing' if name in found else 'not among what the fingerprints give'}"
            else:
                yield from _differences(f"{place}.{name}", stated[name], found[name], skipped)
    elif isinstance(found, (list, tuple)) and isinstance(stated, list) and len(found) == len(stated):
        for number, (one, other) in enumerate(zip(stated, found, strict=True)):
            yield from _differences(f"{place}[{number}]", one, other, skipped)
    elif _is_number(found) and _is_number(stated):
        if not math.isclose(stated, found, rel_tol=_RELATIVE, abs_tol=_ABSOLUTE):
            yield f"{place} is stated as {stated}, the fingerprints give {found}"
    elif stated != found or type(stated) is not type(found):
        yield f"{place} is stated as {stated!r}, the fingerprints give {found!r}"


def _wrong_report(case: Case, notes: list[str]) -> Iterator[str]:
    """Whether report.json and report.html say what verdicts.json and the fingerprints say."""
    report = make_document(case)
    if not _holds(case.folder / REPORT_FILE, to_text(report)):
        yield f"{REPORT_FILE} does not follow from verdicts.json and the fingerprints"
    if not _is_ours(case):
        notes.append(f"{PAGE_FILE} was made by another version, and was compared by its hash alone")
    elif not _holds(case.folder / PAGE_FILE, make_page(report)):
        yield f"{PAGE_FILE} does not follow from {REPORT_FILE}"


def _holds(path: Path, text: str) -> bool:
    """Whether a file holds this text and nothing else, of which no more than the text is read."""
    wanted = text.encode()
    with open_regular(path) as handle:
        return file_size(handle) == len(wanted) and handle.read(len(wanted)) == wanted


def _numbers(value: Any) -> Iterator[float]:
    if isinstance(value, dict):
        for name, entry in value.items():
            if name not in _NOT_RECOMPUTED:
                yield from _numbers(entry)
    elif isinstance(value, list):
        for entry in value:
            yield from _numbers(entry)
    elif _is_number(value):
        yield value


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
