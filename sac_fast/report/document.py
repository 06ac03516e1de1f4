"""The contents of report.json: everything that the page shows, for machines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..errors import FileFormatError
from ..fingerprint import Fingerprint
from .case import VERDICTS_FILE, Case
from .files import sha256_file

REPORT_SCHEMA = "sac_fast.report/1"
SCHEMA_FILE = Path(__file__).parent / "report.schema.json"
#: Parts of `Case.about` that are texts or numbers.
_ABOUT = ("sac_fast", "created", "duration_seconds", "command")


def make_document(case: Case) -> dict[str, Any]:
    """The report on a case as JSON values, in the form of `SCHEMA_FILE`.

    Raises:
        FileFormatError: evidence that is missing or damaged, or verdicts without a field.
    """
    evidence = [_describe(case, role, file) for role, file in case.files()]
    source = Fingerprint.load(case.source)
    try:
        found = case.verdicts
        suspects = [
            {
                "name": name,
                "verdict": found["verdict"][name],
                "p_value": found["p_value"][name],
                "adjusted": found["adjusted"][name],
                "reason": found["reason"][name],
                "tried": found["tried"][name],
                "p_against_thefts": found["thefts"].get(name, {}),
                "strips": _strips(found, name),
                "weights": found["weights"].get(name),
                "claims": case.about.get("claims", {}).get(name, []),
                "model": case.about.get("models", {}).get(name),
                "fingerprint": case.suspects[name].relative_to(case.folder).as_posix(),
            }
            for name in case.suspects
        ]
        general = {
            key: found[key]
            for key in ("ground", "why", "alpha", "smallest_p", "realised_rate", "hypothesis", "conditions", "warnings")
        }
        return {
            "schema": REPORT_SCHEMA,
            **{key: case.about.get(key) for key in _ABOUT},
            "versions": case.about.get("versions", source.provenance.get("versions")) or {},
            "source": {"name": found["source"], "model": case.about.get("models", {}).get(found["source"])},
            "probes": _probes(source),
            "protocol": case.about.get("protocol"),
            **general,
            "settings": case.settings,
            "suspects": suspects,
            "siblings": None if found["siblings"] is None else found["siblings"]["siblings"],
            "diagnostics": [] if found["siblings"] is None else found["siblings"]["diagnostics"],
            "nulls": _count_nulls(evidence),
            "facts": case.about.get("facts", {}),
            "evidence": evidence,
            "verdicts_file": {"file": VERDICTS_FILE, "sha256": sha256_file(case.folder / VERDICTS_FILE)},
        }
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise FileFormatError(f"{VERDICTS_FILE} must hold verdicts of sac_fast, got {error!r}") from error


def _describe(case: Case, role: str, file: Path) -> dict[str, Any]:
    entry = {"role": role, "file": file.relative_to(case.folder).as_posix(), "sha256": sha256_file(file)}
    if role == "calibration":
        return entry
    fp = Fingerprint.load(file)
    n, k = fp.outputs.shape
    return {
        **entry,
        "name": fp.name,
        "kind": fp.kind,
        "probes": n,
        "outputs": k,
        "output_form": fp.output_form,
        "weights_hash": fp.model_hash,
        "preprocessing_hash": fp.provenance.get("preprocessing_hash"),
        "created": fp.provenance.get("created"),
    }


def _probes(source: Fingerprint) -> dict[str, Any]:
    summary = source.provenance.get("probes")
    known = summary if isinstance(summary, dict) else {}
    return {
        "probe_hash": source.probe_hash,
        "count": len(source),
        "kind": known.get("kind"),
        "size": known.get("size"),
    }


def _count_nulls(evidence: list[dict[str, Any]]) -> dict[str, int]:
    """Number of nulls by kind."""
    kinds = [row["kind"] or "undeclared" for row in evidence if row["role"] == "null"]
    return {kind: kinds.count(kind) for kind in dict.fromkeys(kinds)}


def _strips(found: dict[str, Any], name: str) -> list[dict[str, Any]]:
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
