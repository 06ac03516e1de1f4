"""The contents of report.json: everything that the page shows, for machines."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from ..errors import FileFormatError, require
from ..io.hashing import sha256_file
from .case import INDEPENDENTS, Case, Model
from .schema import check_schema

REPORT_SCHEMA = "sac_fast.report/1"
SCHEMA_FILE = Path(__file__).parent / "report.schema.json"
_OF_TEST = ("ground", "why", "alpha", "smallest_p", "realised_rate", "hypothesis", "conditions", "warnings")


def make_document(case: Case) -> dict[str, Any]:
    """The report on a case as JSON values, in the form of `SCHEMA_FILE`.

    Raises:
        FileFormatError: evidence that is missing or damaged, or verdicts of another form.
    """
    evidence = [_describe(case, model) for model in case.models]
    kinds = [row["kind"] or "undeclared" for row in evidence if row["role"] == INDEPENDENTS]
    found = case.content
    try:
        tests = [_test(test, test["verdicts"]) for test in found["tests"]]
        report = {
            "schema": REPORT_SCHEMA,
            "name": found["name"],
            "created": found["created"],
            "seconds": found["seconds"],
            "command": found["command"],
            "versions": found["versions"],
            "protocol_hash": found["protocol_hash"],
            "source": found["tests"][0]["verdicts"]["source"] if found["tests"] else case.source.name,
            "probes": _probes(case),
            "tests": tests,
            "suspects": list(_suspects(case)),
            "failed": found["failed"],
            "warnings": found["warnings"],
            "nulls": {kind: kinds.count(kind) for kind in dict.fromkeys(kinds)},
            "evidence": evidence,
            "files": {file.relative_to(case.folder).as_posix(): sha256_file(file) for file in _others(case)},
        }
        check_schema(report, _schema(), "report")
        datetime.fromisoformat(report["created"])  # CycloneDX has a date there
    except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
        found_error = str(error) if isinstance(error, ValueError) else repr(error)
        raise FileFormatError(f"verdicts.json must hold verdicts of sac_fast, got: {found_error}") from error
    return report


@functools.cache
def _schema() -> dict[str, Any]:
    schema: dict[str, Any] = json.loads(SCHEMA_FILE.read_text())
    return schema


def _others(case: Case) -> Iterator[Path]:
    """Files of the case that are no fingerprints of its models."""
    fingerprints = {model.file for model in case.models}
    yield from (file for file in case.files() if file not in fingerprints)
    for name in ("verdicts.json", "protocol.json", "case.toml", "probes.safetensors"):
        if (case.folder / name).is_file():
            yield case.folder / name


def _test(test: Mapping[str, Any], verdicts: Mapping[str, Any]) -> dict[str, Any]:
    siblings = verdicts["siblings"]
    return {
        "suspects": test["suspects"],
        "probes": None if test["rows"] is None else len(test["rows"]),
        **{key: verdicts[key] for key in _OF_TEST},
        "looks": test.get("looks") or [],
        "settings": test.get("settings") or {},
        "siblings": None if siblings is None else siblings["siblings"],
        "diagnostics": [] if siblings is None else siblings["diagnostics"],
    }


def _suspects(case: Case) -> Iterator[dict[str, Any]]:
    for test in case.content["tests"]:
        verdicts, claims = test["verdicts"], test.get("claims") or {}
        for name in test["suspects"]:
            for field in ("verdict", "p_value", "adjusted", "reason"):
                same = case.content[field].get(name) == verdicts[field][name]
                require(
                    same,
                    f"{field} of {name!r} must be that of its test",
                    case.content[field].get(name),
                    FileFormatError,
                )
            yield {
                "name": name,
                **{field: verdicts[field][name] for field in ("verdict", "p_value", "adjusted", "reason", "tried")},
                "p_against_thefts": verdicts["thefts"].get(name, {}),
                "strips": _strips(verdicts, name),
                "weights": verdicts["weights"].get(name),
                "claims": claims.get(name, []),
            }


def _describe(case: Case, model: Model) -> dict[str, Any]:
    fp, about = model.load(), model.about
    n, k = fp.outputs.shape
    sha256 = sha256_file(model.file)
    stated = about.get("fingerprint_sha256")
    require(stated in (None, sha256), f"{model.file.name} must have the hash {stated}", sha256, FileFormatError)
    name = model.file.relative_to(case.folder).as_posix()
    return {
        "role": model.role,
        "name": model.name,
        "kind": fp.kind,
        "fingerprint": name,
        "sha256": sha256,
        "probes": n,
        "outputs": k,
        "output_form": fp.output_form,
        "weights_hash": fp.model_hash,
        "preprocessing_hash": fp.provenance.get("preprocessing_hash"),
        "created": fp.provenance.get("created"),
        "model": {
            key: about.get(key)
            for key in ("path", "file_sha256", "url", "revision", "endpoint", "queries")
            if about.get(key) is not None
        },
    }


def _probes(case: Case) -> dict[str, Any]:
    fp = case.source.load()
    summary = fp.provenance.get("probes")
    known = summary if isinstance(summary, dict) else {}
    return {"probe_hash": fp.probe_hash, "count": len(fp), "kind": known.get("kind"), "size": known.get("size")}


def _strips(found: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """What a suspect's value is seen among: values of siblings, or of nulls by kind."""
    strips = []
    if found["siblings"] is not None and name in found["siblings"]["profiles"]:
        of_source, *of_siblings = found["siblings"]["profiles"][name]
        strips.append(
            {
                "what": "similarity of the suspect to the source, among its similarities to the siblings",
                "direction": "right: more similar",
                "marked": of_source,
                "groups": {"siblings": of_siblings},
            }
        )
    if name in found["pool"]:
        pool = found["pool"][name]
        groups: dict[str, list[float]] = {}
        for null, distance in pool["null_distances"].items():
            groups.setdefault(pool["null_kinds"][null], []).append(distance)
        strips.append(
            {
                "what": f"distance of the suspect to the source, among the distances of independents ({pool['score']})",
                "direction": "left: more similar",
                "marked": pool["distance"],
                "groups": groups,
            }
        )
    return strips
