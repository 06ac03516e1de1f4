"""The folder of a case: what `sac-fast audit` writes, and reports and checks read.

    case.toml                       the case as it was given
    protocol.json                   what was fixed before suspects were looked at; its hash is the commitment
    probes.safetensors              the probe set
    siblings/                       folder of siblings (`make_siblings`), where they were trained for the case
    fingerprints/ROLE/NAME.safetensors  outputs; ROLE is source, siblings, independents or suspects
    ledger.sqlite                   queries to endpoints
    verdicts.json                   the results

verdicts.json is one object:

* ``kind`` (`VERDICTS_KIND`) and ``format`` (`VERDICTS_FORMAT`);
* ``name`` of the case, ``protocol_hash``, ``created`` (UTC), ``seconds`` of the run, ``versions``, ``command``;
* ``models``: for each ``name``, ``role``, ``kind``, ``fingerprint`` (path in the folder), ``fingerprint_sha256``,
  ``model_hash``, ``path`` and ``file_sha256`` of a model file, ``endpoint`` (its address) and ``queries`` of a service;
  what is not known is null. A simulated theft has the role ``thefts`` and an ``attack``; ``url`` and ``revision`` say
  where a file is from;
* ``tests``: for each group of suspects that were judged together ``suspects``, ``rows`` (positions in the probe set
  that they were judged on; null: all of it), ``alpha`` of this look, ``looks`` (one entry a look at services:
  ``queries``, ``alpha``, ``p_value``, ``verdict``), ``settings`` (further arguments of `verify_suspects`: ``ground``,
  ``score``, ``metric``, ``comparison``, ``kinds``; those left out have their defaults), ``calibration`` (its file in
  the folder, or null), ``claims`` (for suspects: `ClaimResult`s), and ``verdicts`` (`Verdicts.to_dict`). The
  sum of the tests' α is at most the case's, so that this bounds the probability of any false accusation;
* ``verdict``, ``p_value``, ``adjusted`` and ``reason`` of all suspects by name, the same as in their tests;
* ``failed``: suspects that could not be judged, name to reason; ``warnings`` of the case.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import FileFormatError
from ..formats.json_text import parse_json
from ..formats.limits import MAX_JSON_BYTES
from ..io.files import atomic_write, read_regular

VERDICTS_KIND = "sac_fast verdicts"
VERDICTS_FORMAT = 1
_FIELDS = (
    *("name", "protocol_hash", "created", "seconds", "versions", "command", "models", "tests", "verdict", "p_value"),
    *("adjusted", "reason", "failed", "warnings"),
)


@dataclass(frozen=True)
class CaseFolder:
    """Where the parts of a case are.

    Attributes:
        folder: the case's folder.

    Example::

        >>> CaseFolder(Path("case")).fingerprint("suspects", "their model").as_posix()
        'case/fingerprints/suspects/their%20model.safetensors'
    """

    folder: Path

    @property
    def case(self) -> Path:
        """The case as it was given."""
        return self.folder / "case.toml"

    @property
    def protocol(self) -> Path:
        """What was fixed beforehand."""
        return self.folder / "protocol.json"

    @property
    def probes(self) -> Path:
        """The probe set."""
        return self.folder / "probes.safetensors"

    @property
    def siblings(self) -> Path:
        """Siblings that were trained for the case."""
        return self.folder / "siblings"

    @property
    def ledger(self) -> Path:
        """Queries to endpoints."""
        return self.folder / "ledger.sqlite"

    @property
    def verdicts(self) -> Path:
        """The results."""
        return self.folder / "verdicts.json"

    def fingerprint(self, role: str, name: str) -> Path:
        """Where a model's outputs are; characters that are no letters, digits or ``-_`` are written as %XX."""
        return self.folder / "fingerprints" / role / f"{_file_name(name)}.safetensors"


def write_verdicts(case: CaseFolder, results: dict[str, Any]) -> None:
    """Write verdicts.json, all or nothing; numbers that are not finite become null.

    Args:
        case: the folder.
        results: the object of the module's text, without ``kind`` and ``format``.

    Raises:
        ValueError: a field is missing or unknown.
    """
    if set(results) != set(_FIELDS):
        raise ValueError(f"results must have the fields {', '.join(_FIELDS)}, got {', '.join(results)}")
    text = json.dumps(_finite({"kind": VERDICTS_KIND, "format": VERDICTS_FORMAT, **results}), indent=1, allow_nan=False)
    with atomic_write(case.verdicts) as handle:
        handle.write(text.encode() + b"\n")


def read_verdicts(case: CaseFolder) -> dict[str, Any]:
    """Read verdicts.json; only its head is checked, its values are as they are in the file.

    Raises:
        FileFormatError: no such file, another kind or format, or a missing field.
    """
    content = read_regular(case.verdicts, MAX_JSON_BYTES, "as results of a case")
    found = parse_json(content, repr(str(case.verdicts)))
    try:
        head = (found["kind"], found["format"])
        missing = [name for name in _FIELDS if name not in found]
    except KeyError as error:
        raise FileFormatError(f"{str(case.verdicts)!r} must hold verdicts, got no {error}") from error
    if head != (VERDICTS_KIND, VERDICTS_FORMAT) or missing:
        wanted = f"{VERDICTS_KIND!r} of format {VERDICTS_FORMAT} with {', '.join(_FIELDS)}"
        raise FileFormatError(f"{str(case.verdicts)!r} must be {wanted}, got {head} without {missing}")
    return dict(found)


def _file_name(name: str) -> str:
    """One file name for each name, on every file system."""
    kept = [c if c.isascii() and (c.isalnum() or c in "-_") else "".join(f"%{b:02X}" for b in c.encode()) for c in name]
    return "".join(kept)


def _finite(value: Any) -> Any:
    """JSON has no NaN."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
