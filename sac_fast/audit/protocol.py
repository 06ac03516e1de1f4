"""What a case fixes before suspects are looked at, and the hash by which the owner commits to it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from ..errors import FileFormatError, SacFastError
from ..fingerprint import Fingerprint
from ..formats.json_text import parse_json
from ..io.files import atomic_write, read_regular
from ..io.hashing import content_hash, hash_json
from ..io.version import package_version
from ..verify.case_folder import CaseFolder
from ..verify.stages import query_order
from .case import Case
from .family import Family

PROTOCOL_KIND = "sac_fast protocol"
PROTOCOL_FORMAT = 1
MAX_PROTOCOL_BYTES = 64 << 20


class ProtocolError(SacFastError, ValueError):
    """A case that is no longer as it was committed to."""


def describe_protocol(
    case: Case, source: Fingerprint, siblings: Sequence[Fingerprint], nulls: Sequence[Fingerprint], family: Family
) -> dict[str, Any]:
    """All that decides verdicts but the suspects, as JSON values."""
    return {
        "sac_fast": package_version(),
        "alpha": case.alpha,
        **{"kinds": [], **case.settings},
        "probes": source.probe_hash,
        "source": _outputs_of(source),
        "siblings": [_outputs_of(fp) for fp in siblings],
        "independents": [{**_outputs_of(fp), "kind": fp.kind} for fp in nulls],
        "looks": {"queries": list(family.looks.queries), "alphas": list(family.looks.alphas)},
        "family": family.to_dict(),
        "order": hash_json(query_order([source, *siblings]).tolist()),
    }


def commit_protocol(folder: CaseFolder, protocol: Mapping[str, Any]) -> tuple[str, float]:
    """Write protocol.json, or compare with the one that is there.

    Returns:
        Its hash, and when it was written (seconds since the epoch).

    Raises:
        ProtocolError: something is not as it was committed to; the message names it.
        FileFormatError: a damaged protocol.json.
    """
    value = hash_json(dict(protocol))
    if folder.protocol.exists():
        known = read_protocol(folder)
        if known["hash"] != value:
            changed = [key for key in protocol if known["protocol"].get(key) != protocol[key]]
            raise ProtocolError(
                f"the case must be as it was committed to ({known['hash']}), got other {', '.join(changed)}: take "
                "another folder for another protocol"
            )
        return value, datetime.fromisoformat(known["committed"]).timestamp()
    now = datetime.now(UTC)
    content = {
        "kind": PROTOCOL_KIND,
        "format": PROTOCOL_FORMAT,
        "hash": value,
        "committed": now.isoformat(timespec="seconds"),
        "protocol": dict(protocol),
    }
    with atomic_write(folder.protocol) as handle:
        handle.write(json.dumps(content, indent=1).encode() + b"\n")
    return value, now.timestamp()


def read_protocol(folder: CaseFolder) -> dict[str, Any]:
    """protocol.json, its hash checked.

    Raises:
        FileFormatError: missing, damaged or of another kind.
    """
    content = read_regular(folder.protocol, MAX_PROTOCOL_BYTES, "as a protocol")
    found = parse_json(content, repr(str(folder.protocol)))
    try:
        sound = (found["kind"], found["format"]) == (PROTOCOL_KIND, PROTOCOL_FORMAT)
        sound = sound and found["hash"] == hash_json(found["protocol"])
        datetime.fromisoformat(found["committed"])
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise FileFormatError(f"{str(folder.protocol)!r} must be a protocol, got {type(error).__name__}") from error
    if not sound:
        raise FileFormatError(f"{str(folder.protocol)!r} must be a protocol with its own hash, got another")
    return dict(found)


def _outputs_of(fp: Fingerprint) -> dict[str, Any]:
    return {"name": fp.name, "model_hash": fp.model_hash, "outputs": content_hash({"outputs": fp.outputs.numpy()})}
