"""What one file of ours holds, for `sac-fast show`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

_MAX_JSON, _MAX_SHOWN = 256 << 20, 12  # bytes of a file; fields of a document
_SQLITE, _APPLICATION_ID_AT = b"SQLite format 3\0", 68


def describe_file(path: Path) -> dict[str, Any]:
    """What a file holds: ``what``, and more for files of ours; of others ``format``."""
    from ..formats.identify import identify
    from ..io.files import open_regular

    with open_regular(path) as handle:
        head = handle.read(100)
    if head.startswith(_SQLITE):
        return _database(path, int.from_bytes(head[_APPLICATION_ID_AT : _APPLICATION_ID_AT + 4], "big"))
    what = identify(path)
    readers: dict[str, Callable[[Path], dict[str, Any]]] = {
        "fingerprint": _fingerprint,
        "probes": _probes,
        "inputs": _inputs,
        "pack": _pack,
        "safetensors": _container,
        "unknown": _text,
    }
    found = readers[what](path) if what in readers else {}
    return found or {"what": "no file of sac_fast", "format": what}


def _fingerprint(path: Path) -> dict[str, Any]:
    from ..fingerprint import Fingerprint
    from ..io.hashing import sha256_file

    fp = Fingerprint.load(path)
    keys = ("preprocessing", "versions", "created", "service", "file")
    more = {key: fp.provenance[key] for key in keys if fp.provenance.get(key) is not None}
    n, k = fp.outputs.shape
    hashes = {"weights_hash": fp.model_hash, "probe_hash": fp.probe_hash, "sha256": sha256_file(path)}
    about = {"name": fp.name, "kind": fp.kind, "probes": n, "outputs": k, "output_form": fp.output_form}
    return {"what": "fingerprint", **about, **hashes, **more}


def _pack(path: Path) -> dict[str, Any]:
    from ..io.hashing import sha256_file
    from ..packs.opened import open_pack

    return {"what": "pack", **open_pack(path, sha256_file(path)).summary()}


def _probes(path: Path) -> dict[str, Any]:
    from ..io.hashing import sha256_file
    from ..probes import ProbeSet

    probes = ProbeSet.load(path)
    n, height, width, channels = probes.images.shape
    return {
        "what": "probes",
        "probes": n,
        "size": [height, width, channels],
        "kind": probes.provenance.get("kind"),
        "steps": [step.get("kind") for step in probes.provenance.get("augmentation", [])],
        "labelled": probes.labels is not None,
        "probe_hash": probes.content_hash,
        "sha256": sha256_file(path),
    }


def _inputs(path: Path) -> dict[str, Any]:
    from ..probes import RecordedInputs
    from .render.common import describe_inputs

    return {"what": "inputs", **describe_inputs(RecordedInputs.load(path))}


def _container(path: Path) -> dict[str, Any]:
    """A calibration, or a store's file of outputs; nothing for weights."""
    from ..formats.limits import Limits
    from ..formats.safetensors import read_header
    from ..io.container import METADATA_KEY
    from ..io.files import STORE_OUTPUTS, open_regular
    from ..scores import Calibration
    from ..scores.calibration import KIND

    with open_regular(path) as handle:
        head = read_header(handle, repr(str(path)), Limits()).metadata.get(METADATA_KEY, "")
    if f'"kind":"{KIND}"' in head:
        made = Calibration.load(path)
        counts = made.null_counts()
        return {"what": KIND, "probe_hashes": made.probe_hashes, "source_hash": made.source_hash, "nulls": counts}
    return {"what": "outputs of a store"} if head.endswith(f'"kind":"{STORE_OUTPUTS}"}}') else {}


def _database(path: Path, application: int) -> dict[str, Any]:
    from ..io.files import STORE_DATABASE, is_store
    from ..models.endpoint_ledger import APPLICATION_ID, read_counts

    if application == APPLICATION_ID:
        return {"what": "query ledger", "services": read_counts(path)}
    if path.name == STORE_DATABASE and is_store(path.parent):
        return {"what": "database of a store", "show": str(path.parent)}
    return {"what": "no file of sac_fast", "format": "sqlite"}


def _text(path: Path) -> dict[str, Any]:
    """JSON and TOML of ours; nothing for other texts."""
    from ..audit.case import load_case
    from ..errors import SacFastError
    from ..formats.json_text import parse_json
    from ..io.files import read_regular
    from ..models.service_file import read_service_file

    if path.suffix == ".toml":
        try:
            case = load_case(path)
        except SacFastError as error:
            try:
                service = read_service_file(path)
            except SacFastError:
                raise error from None
            return {"what": "description of a service", "url": service.url, "answer": service.answer}
        counts = {"suspects": len(case.suspects), "independents": len(case.independents)}
        return {"what": "case of an audit", "name": case.name, "folder": str(case.folder), **counts}
    raw = read_regular(path, _MAX_JSON, "as JSON")
    if not raw.lstrip().startswith(b"{"):
        return {}
    return _document(parse_json(raw, repr(str(path))))


def _document(found: Mapping[str, Any]) -> dict[str, Any]:
    kind, schema = found.get("kind"), found.get("schema")
    if isinstance(kind, str) and kind.startswith("sac_fast "):
        what = kind.removeprefix("sac_fast ")
    elif isinstance(schema, str) and schema.startswith("sac_fast."):
        what = schema
    elif found.get("payloadType") == "application/vnd.in-toto+json":
        signatures = found.get("signatures")
        keys = [one.get("keyid") for one in signatures if isinstance(one, dict)] if isinstance(signatures, list) else []
        return {"what": "signature of a report, not verified here", "keys": keys}
    else:
        return {}
    rest = {key: _brief(value) for key, value in found.items() if key not in ("kind", "schema")}
    return {"what": what, **dict([*rest.items()][:_MAX_SHOWN])}


def _brief(value: Any) -> Any:
    if isinstance(value, (dict, list)):
        return f"{len(value)} {'fields' if isinstance(value, dict) else 'items'}"
    return value
