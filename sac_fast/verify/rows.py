"""Fingerprints that hold some of a probe set's rows alone: which ones, and how others are brought to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from ..errors import FingerprintError
from ..fingerprint import Fingerprint


def probe_rows(provenance: Mapping[str, Any], count: int, name: str) -> tuple[int, ...] | None:
    """Positions in the probe set of the rows that outputs hold; None: all of it.

    Args:
        provenance: of the outputs, ``probe_rows`` among it where they are not of all probes.
        count: rows of the outputs.
        name: for messages.

    Raises:
        FingerprintError: other than rising positions, one a row.
    """
    rows = provenance.get("probe_rows")
    if rows is None:
        return None
    whole = isinstance(rows, list) and len(rows) == count and all(type(row) is int and row >= 0 for row in rows)
    if not whole or not all(a < b for a, b in pairwise(rows)):
        raise FingerprintError(f"{name!r} must have rising probe_rows, one for each of its {count} rows, got others")
    return tuple(rows)


def rows_of(fp: Fingerprint) -> tuple[int, ...] | None:
    """`probe_rows` of a fingerprint."""
    return probe_rows(fp.provenance, len(fp), fp.name)


def covers(fp: Fingerprint, rows: Sequence[int] | None) -> bool:
    """Whether a fingerprint holds these rows; None: all of the probe set."""
    own = rows_of(fp)
    if rows is None:
        return own is None
    return max(rows, default=-1) < len(fp) if own is None else set(rows) <= set(own)


def restrict_fingerprint(fp: Fingerprint, rows: Sequence[int]) -> Fingerprint:
    """The fingerprint on some of its probes; it says which, and keeps the hash of the whole probe set.

    Args:
        fp: on these and others.
        rows: positions in the probe set, rising.

    Raises:
        FingerprintError: rows that it does not have.
    """
    if not covers(fp, rows):
        raise FingerprintError(f"{fp.name!r} must have the probes {list(rows)[:5]} …, got others")
    own = rows_of(fp)
    place = None if own is None else {row: i for i, row in enumerate(own)}
    at = list(rows) if place is None else [place[row] for row in rows]
    return Fingerprint(fp.outputs[at], {**fp.provenance, "probe_rows": list(rows)})


def positions_in(
    own: Mapping[str, Any], count: int, ours: Mapping[str, Any], our_count: int, name: str
) -> tuple[int, ...] | None:
    """Where a suspect's rows are among the source's; None: they are the same rows.

    Args:
        own, count, name: provenance, number of rows and name of the suspect.
        ours, our_count: of the source.

    Raises:
        FingerprintError: rows that the source does not have.
    """
    theirs, mine = probe_rows(own, count, name), probe_rows(ours, our_count, "source")
    if theirs is None or theirs == mine:
        return None
    place = {row: i for i, row in enumerate(range(our_count) if mine is None else mine)}
    if not set(theirs) <= set(place):
        raise FingerprintError(f"{name!r} must be of the source's probes, got rows that the source does not have")
    found = tuple(place[row] for row in theirs)
    return None if len(found) == our_count else found


def group_by_rows(source: Fingerprint, models: Mapping[str, Fingerprint]) -> dict[tuple[int, ...] | None, list[str]]:
    """Names of models by the rows of the probe set that they hold; None: all that the source holds."""
    groups: dict[tuple[int, ...] | None, list[str]] = {}
    for name, fp in models.items():
        rows = rows_of(fp)
        part = None if rows is None or rows == rows_of(source) or len(rows) == len(source) else rows
        groups.setdefault(part, []).append(name)
    return groups


def shared_rows(rows: Sequence[int] | None, source: Fingerprint, nulls: Sequence[Fingerprint]) -> Sequence[int] | None:
    """The rows on which suspects are compared with nulls: the suspects' own where some null has them all.

    Else those of them that all nulls have: which ones follows from who was asked what, never from an answer.
    """
    own = rows_of(source) if rows is None else rows
    if not nulls or any(covers(fp, own) for fp in nulls):
        return rows
    common = set(range(len(source)) if own is None else own)
    for fp in nulls:
        common &= set(rows_of(fp) or ())
    return sorted(common)
