"""Reports whose verdicts are changed: the fingerprints stay, every hash is made to fit."""

from __future__ import annotations

import contextlib
import functools
import json
import tempfile
from pathlib import Path

import torch

from sac_fast import Fingerprint, verify_suspects
from sac_fast.report import check_report, load_case, save_case, write_report
from sac_fast.report.document import make_document
from sac_fast.report.files import to_text, write_sums
from sac_fast.report.page import make_page
from sac_fast.report.sarif import sarif_log, verdict_results

from .outcomes import Outcomes

_VERDICTS, _PROTOCOL = "verdicts.json", "protocol.json"


@functools.cache
def _report() -> dict[str, bytes]:
    """A small report, by name of the file."""
    outputs = torch.randn(8, 12, 3, generator=torch.Generator().manual_seed(0))
    kinds = (None, None, *["same-data"] * 2, *["other-data"] * 2, None, None)
    made = [
        Fingerprint(one, {"name": f"m{number}", "probe_hash": "sha256:" + "a" * 64, "kind": kind})
        for number, (one, kind) in enumerate(zip(outputs, kinds, strict=True))
    ]
    source, suspect, nulls, siblings = made[0], {"suspect": made[1]}, made[2:6], made[6:]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        how = {"siblings": siblings, "nulls": nulls}
        verdicts = verify_suspects(source, suspect, alpha=0.4, **how)
        save_case(folder, verdicts, source=source, suspects=suspect, seconds=1.0, **how)
        write_report(folder, pdf=False)
        files = [path for path in folder.rglob("*") if path.is_file()]
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def seeds() -> list[bytes]:
    """Verdicts, a protocol, hashes."""
    protocol = {"kind": "sac_fast protocol", "format": 1, "protocol": {"alpha": 0.4}, "hash": "sha256:" + "0" * 64}
    report = _report()
    return [report[_VERDICTS], json.dumps(protocol).encode(), report["SHA256SUMS"]]


def read(content: bytes, folder: Path, outcomes: Outcomes) -> None:
    """Check the report with one file of it changed, and make it anew."""
    for name, sound in _report().items():
        (folder / name).parent.mkdir(exist_ok=True, parents=True)
        (folder / name).write_bytes(sound)
    if content.startswith(b"{"):
        with contextlib.suppress(ValueError, RecursionError):  # in the one form that is read, where it is JSON
            content = to_text(json.loads(content)).encode()
        (folder / (_PROTOCOL if b'"sac_fast protocol"' in content[:100] else _VERDICTS)).write_bytes(content)
        with outcomes.attempt():
            document = make_document(load_case(folder))
            make_page(document)
            (folder / "report.json").write_text(to_text(document))
            sarif_log(verdict_results(document))
        write_sums(folder, [path for path in folder.rglob("*") if path.is_file() and path.name != "SHA256SUMS"])
    else:
        (folder / "SHA256SUMS").write_bytes(content)
    with outcomes.attempt():
        found = check_report(folder)
        repr(found.to_dict())
