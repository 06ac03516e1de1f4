"""Reports whose verdicts or fingerprints are changed; every hash is made to fit."""

from __future__ import annotations

import contextlib
import functools
import json
import re
import tempfile
from collections.abc import Callable
from pathlib import Path

from support.report_cases import made, random_outputs

from sac_fast import Fingerprint, verify_suspects
from sac_fast.errors import SacFastError
from sac_fast.io.hashing import sha256_file
from sac_fast.report import check_report, load_case, save_case, write_report
from sac_fast.report.cyclonedx import cyclonedx_text
from sac_fast.report.document import make_document
from sac_fast.report.files import to_text, write_sums
from sac_fast.report.page import make_page
from sac_fast.report.sarif import sarif_log, verdict_results

from .outcomes import Outcomes

_VERDICTS, _PROTOCOL, _SUMS = "verdicts.json", "protocol.json", "SHA256SUMS"
_LAYER = {"left_out": None, "other": "b", "variant": "rows", "units": 8, "matches": 7, "cosine": 0.9, "log10_p": -3.5}
_WEIGHTS = {
    **{"verdict": "weights related", "reason": "x", "a": "m0", "b": "suspect", "log10_p": -30.0},
    **{"coverage": {"a": 0.9, "b": 1.0}, "conditions": ["c"], "warnings": [], "layers": [{"name": "w", **_LAYER}]},
}
_CLAIM = {"verdict": "consistent", "claim": "c", "source": "s", "reason": "r"}


def _siblings(folder: Path) -> None:
    outputs = random_outputs(8, probes=12, classes=3)
    source, suspect, *rest = (made(f"m{number}", one) for number, one in enumerate(outputs))
    nulls = [fp.with_kind(kind) for fp, kind in zip(rest[:4], ["same-data", "other-data"] * 2, strict=True)]
    how = {"siblings": rest[4:], "nulls": nulls}
    verdicts = verify_suspects(source, {"suspect": suspect}, alpha=0.4, **how)
    save_case(folder, verdicts, source=source, suspects={"suspect": suspect}, seconds=1.0, **how)


def _pool(folder: Path) -> None:
    """Two suspects, one on some of the probes; thefts, claims, weights, settings."""
    outputs = random_outputs(11, probes=12, classes=3)
    source, copy, part, *rest = (made(f"m{number}", one) for number, one in enumerate(outputs))
    part = Fingerprint(part.outputs[[0, 2, 3, 7, 8, 11]], {**part.provenance, "probe_rows": [0, 2, 3, 7, 8, 11]})
    nulls = [fp.with_kind("same-data") for fp in rest[:5]]
    suspects, thefts, settings = {"copy": copy, "part": part}, {"distill": rest[5:]}, {"metric": "pearson"}
    verdicts = verify_suspects(source, suspects, nulls=nulls, thefts=thefts, alpha=0.2, **settings)
    save_case(
        folder, verdicts, source=source, suspects=suspects, nulls=nulls, thefts=thefts, settings=settings,
        claims={"copy": [_CLAIM]}, command="sac-fast verify",
    )  # fmt: skip
    case = json.loads((folder / _VERDICTS).read_text())
    case["tests"][0]["verdicts"]["weights"] = {"copy": _WEIGHTS}
    (folder / _VERDICTS).write_text(to_text(case))


@functools.cache
def _report(make: Callable[[Path], None]) -> dict[str, bytes]:
    """A small report, by name of the file."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make(folder)
        write_report(folder, pdf=False)
        files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def seeds() -> list[bytes]:
    """Verdicts, a protocol, hashes, fingerprints."""
    protocol = {"kind": "sac_fast protocol", "format": 1, "protocol": {"alpha": 0.4}, "hash": "sha256:" + "0" * 64}
    one, other = _report(_siblings), _report(_pool)
    prints = [report[next(file for file in report if "suspects/" in file)] for report in (one, other)]
    return [one[_VERDICTS], other[_VERDICTS], json.dumps(protocol).encode(), one[_SUMS], *prints]


def read(content: bytes, folder: Path, outcomes: Outcomes) -> None:
    """Check the report with one file of it changed, and make it anew."""
    is_print = content[8:9] == b"{"
    report = _report(_pool if is_print or b'"pearson"' in content else _siblings)
    for name, sound in report.items():
        (folder / name).parent.mkdir(exist_ok=True, parents=True)
        (folder / name).write_bytes(sound)
    if is_print:
        _replace_fingerprint(content, folder)
    elif content.startswith(b"{"):
        with contextlib.suppress(ValueError, RecursionError):  # in the one form that is read, where it is JSON
            content = to_text(json.loads(content)).encode()
        (folder / (_PROTOCOL if b'"sac_fast protocol"' in content[:100] else _VERDICTS)).write_bytes(content)
    else:
        (folder / _SUMS).write_bytes(content)
    if is_print or content.startswith(b"{"):
        with outcomes.attempt():
            document = make_document(load_case(folder))
            make_page(document)
            (folder / "report.json").write_text(to_text(document))
            sarif_log(verdict_results(document))
            cyclonedx_text(document)
        write_sums(folder, [path for path in folder.rglob("*") if path.is_file() and path.name != _SUMS])
    with outcomes.attempt():
        found = check_report(folder)
        repr(found.to_dict())
        if not found.sound:
            raise _UnsoundError(found.findings)


def _replace_fingerprint(content: bytes, folder: Path) -> None:
    """One of a model's role that the content chooses."""
    case = json.loads((folder / _VERDICTS).read_text())
    model = case["models"][sum(content) % len(case["models"])]
    path = folder / model["fingerprint"]
    path.write_bytes(content)
    model["fingerprint_sha256"] = sha256_file(path)
    (folder / _VERDICTS).write_text(to_text(case))


class _UnsoundError(SacFastError):
    """A report with findings; their words tell one from another."""

    def __init__(self, findings: tuple[str, ...]) -> None:
        super().__init__("findings")
        self.reason = sorted({re.sub(r"[^A-Za-z. ]+", "", finding)[:60] for finding in findings})[:4]
