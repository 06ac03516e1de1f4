"""A report as a CycloneDX file: suspects that are called derived get the source as ancestor."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from ..errors import SacFastError, describe_error
from ..io.hashing import hash_json
from ..io.text import escape_text


def cyclonedx_text(report: Mapping[str, Any]) -> str:
    """CycloneDX 1.6 as JSON.

    Args:
        report: contents of report.json.

    Raises:
        SacFastError: cyclonedx-python-lib is not installed.
    """
    try:
        from cyclonedx.model import HashAlgorithm, HashType, Property
        from cyclonedx.model.bom import Bom
        from cyclonedx.model.component import Component, ComponentType, Pedigree
        from cyclonedx.output.json import JsonV1Dot6
    except ImportError as error:
        hint = "CycloneDX needs cyclonedx-python-lib (pip install 'sac-fast[report]')"
        raise SacFastError(f"{hint}, which is not there: {describe_error(error)}") from error

    def component(row: Mapping[str, Any], reference: str, **more: Any) -> Component:
        sha256 = row["model"].get("file_sha256")
        hashes = [] if sha256 is None else [HashType(alg=HashAlgorithm.SHA_256, content=sha256.removeprefix("sha256:"))]
        known = {"weights_hash": row["weights_hash"], "fingerprint": row["sha256"], **more.pop("facts", {})}
        return Component(
            name=escape_text(row["name"]),
            type=ComponentType.MACHINE_LEARNING_MODEL,
            bom_ref=reference,
            hashes=hashes,
            properties=[Property(name=f"sac_fast:{key}", value=str(value)) for key, value in known.items() if value],
            **more,
        )

    source_row = next(row for row in report["evidence"] if row["role"] == "source")
    rows = {row["name"]: row for row in report["evidence"] if row["role"] == "suspects"}
    ground = {name: test["ground"] for test in report["tests"] for name in test["suspects"]}
    bom = Bom(serial_number=uuid.uuid5(uuid.NAMESPACE_URL, hash_json(dict(report))))
    bom.metadata.timestamp = datetime.fromisoformat(report["created"])
    bom.components.add(component(source_row, "source"))
    for number, suspect in enumerate(report["suspects"]):
        name, verdict = suspect["name"], suspect["verdict"]
        derived = verdict.startswith("derived")
        notes = escape_text(f"{verdict} by {ground[name]}, p = {suspect['p_value']:.4g}: {suspect['reason']}")
        ancestors = [component(source_row, f"ancestor-{number}")] if derived else []
        pedigree = Pedigree(ancestors=ancestors, notes=notes)
        facts = {"verdict": verdict, "p_value": suspect["p_value"]}
        bom.components.add(component(rows[name], f"suspect-{number}", pedigree=pedigree, facts=facts))
    return str(JsonV1Dot6(bom).output_as_string(indent=1)) + "\n"
