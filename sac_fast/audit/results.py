"""Rows of verdicts.json: models and tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..fingerprint import Fingerprint
from ..verify.case_folder import CaseFolder
from ..verify.names import unique_name
from ..verify.stages import Look
from ..verify.verdicts import Verdicts
from .evidence import Evidence
from .gather import Found
from .outputs import file_sha256


def describe_test(
    suspects: Sequence[str],
    rows: Sequence[int] | None,
    verdicts: Verdicts,
    settings: Mapping[str, Any],
    looks: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """A test as verdicts.json holds it."""
    return {
        "suspects": list(suspects),
        "rows": None if rows is None else list(rows),
        "alpha": verdicts.alpha,
        "settings": dict(settings),
        "calibration": None,
        "looks": [dict(look) for look in looks],
        "claims": {},
        "verdicts": verdicts.to_dict(),
    }


def service_tests(looks: Sequence[Look], settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One test for each look that decided something, with the looks up to it."""
    history = [
        {
            "queries": len(look.rows),
            "alpha": look.alpha,
            "p_value": dict(look.verdicts.p_value),
            "verdict": dict(look.verdicts.verdict),
        }
        for look in looks
    ]
    return [
        describe_test(look.decided, look.rows, look.verdicts, settings, history[: place + 1])
        for place, look in enumerate(looks)
        if look.decided
    ]


def model_rows(
    folder: CaseFolder,
    evidence: Evidence,
    suspects: Sequence[Found],
    prints: Mapping[str, Fingerprint],
    services: Mapping[str, Mapping[str, Any]],
) -> list[dict[str, Any]]:
    """Write every model's fingerprint, and describe the models."""
    rows = [_row(folder, "source", evidence.source[0].name, evidence.source[1], evidence.source[0])]
    for role, some, models in (
        ("siblings", evidence.siblings, [None] * len(evidence.siblings)),
        ("independents", evidence.nulls, evidence.independents),
    ):
        taken: list[str] = []
        for fp, model in zip(some, models, strict=True):
            taken.append(unique_name(fp.name, taken))
            row = _row(folder, role, taken[-1], fp, model)
            if model is not None and model.name in evidence.services:
                queries = evidence.services[model.name]
                row |= {"endpoint": queries["address"], "queries": dict(queries)}
            rows.append(row)
    for model in suspects:
        if model.name in prints:
            row = _row(folder, "suspects", model.name, prints[model.name], model)
            if model.name in services:
                row |= {"endpoint": services[model.name]["address"], "queries": dict(services[model.name])}
            rows.append(row)
    return rows


def _row(folder: CaseFolder, role: str, name: str, fp: Fingerprint, model: Found | None) -> dict[str, Any]:
    path = folder.fingerprint(role, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    fp.save(path)
    file = None if model is None else model.file
    return {
        "name": name,
        "role": role,
        "kind": fp.kind,
        "fingerprint": path.relative_to(folder.folder).as_posix(),
        "fingerprint_sha256": file_sha256(path),
        "model_hash": fp.model_hash,
        "path": None if file is None else file.name,
        "file_sha256": file_sha256(file),
        "endpoint": None,
        "queries": None,
    }
