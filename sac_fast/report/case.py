"""A case: verdicts in one folder with the fingerprints from which they follow, so that anyone can repeat them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import FileFormatError, require
from ..fingerprint import Fingerprint
from ..io.files import StrPath, atomic_write, open_regular
from ..io.version import package_version
from ..verify.grounds import verify_suspects
from ..verify.verdicts import Verdicts
from .files import read_bytes

VERDICTS_FILE = "verdicts.json"
CASE_SCHEMA = "sac_fast.case/1"
FINGERPRINTS = "fingerprints"
#: Arguments of `verify_suspects` that a case may hold.
SETTINGS = ("ground", "score", "metric", "comparison", "alpha", "kinds")
MAX_JSON_BYTES = 256 << 20
#: Fields of `Verdicts` that do not follow from fingerprints.
NOT_RECOMPUTED = ("weights",)


@dataclass(frozen=True)
class Case:
    """A folder of verdicts, read.

    Attributes:
        folder: where it lies.
        verdicts: `Verdicts.to_dict`.
        settings: arguments of `verify_suspects`.
        source: file of the source's fingerprint.
        suspects: files of the suspects' fingerprints, by name.
        siblings, nulls: files of fingerprints.
        thefts: files of simulated thefts, by attack.
        calibration: file of the calibrated score; None: none.
        about: what else is known, see `save_case`.
    """

    folder: Path
    verdicts: dict[str, Any]
    settings: dict[str, Any]
    source: Path
    suspects: dict[str, Path]
    siblings: tuple[Path, ...]
    nulls: tuple[Path, ...]
    thefts: dict[str, tuple[Path, ...]]
    calibration: Path | None
    about: dict[str, Any]

    def files(self) -> Iterator[tuple[str, Path]]:
        """Role and file of all evidence."""
        yield "source", self.source
        yield from (("suspect", file) for file in self.suspects.values())
        yield from (("sibling", file) for file in self.siblings)
        yield from (("null", file) for file in self.nulls)
        yield from ((f"simulated theft: {attack}", file) for attack, files in self.thefts.items() for file in files)
        if self.calibration is not None:
            yield "calibration", self.calibration

    def judge(self) -> Verdicts:
        """The verdicts once more, from the fingerprints.

        Raises:
            FileFormatError, FingerprintError, ValueError: fingerprints that are damaged or cannot be compared.
        """
        return verify_suspects(
            Fingerprint.load(self.source),
            {name: Fingerprint.load(file) for name, file in self.suspects.items()},
            siblings=[Fingerprint.load(file) for file in self.siblings],
            nulls=[Fingerprint.load(file) for file in self.nulls],
            thefts={attack: [Fingerprint.load(file) for file in files] for attack, files in self.thefts.items()},
            calibration=self.calibration,
            **self.settings,
        )


def save_case(
    folder: StrPath,
    verdicts: Verdicts,
    *,
    source: Fingerprint | Path,
    suspects: Mapping[str, Fingerprint | Path],
    siblings: Sequence[Fingerprint | Path] = (),
    nulls: Sequence[Fingerprint | Path] = (),
    thefts: Mapping[str, Sequence[Fingerprint | Path]] | None = None,
    settings: Mapping[str, Any] | None = None,
    calibration: StrPath | None = None,
    about: Mapping[str, Any] | None = None,
) -> Path:
    """Write verdicts and the fingerprints from which they follow.

    Args:
        folder: made if it is missing. Fingerprints go to its `fingerprints/`; a path must lie in the folder already,
            and is taken as it is.
        verdicts: of `verify_suspects`.
        source, suspects, siblings, nulls, thefts: what `verify_suspects` was given.
        settings: its other arguments, those of `SETTINGS`.
        calibration: file of the calibrated score; it is copied.
        about: JSON values, all optional: ``created`` (UTC), ``duration_seconds``, ``command``, ``protocol``
            (with ``hash``), ``versions``, ``models`` (by name: ``file``, ``sha256``, ``weights_hash``, ``url``,
            ``revision``), ``claims`` (by suspect: a list of ``verdict``, ``claim``, ``source``, ``reason``), ``facts``
            (names and values that the report shows, such as numbers of queries).

    Returns:
        The file verdicts.json.

    Raises:
        ValueError: an unknown setting, or a path outside of the folder.
        OSError: the folder cannot be written to.
    """
    folder = Path(folder)
    (folder / FINGERPRINTS).mkdir(parents=True, exist_ok=True)
    unknown = sorted(set(settings or {}) - set(SETTINGS))
    require(not unknown, f"settings must be of {', '.join(SETTINGS)}", unknown)

    def keep(role: str, given: Fingerprint | Path) -> str:
        if isinstance(given, Fingerprint):
            # numbers, not names: names are untrusted
            path = folder / FINGERPRINTS / f"{role}.safetensors"
            given.save(path)
            return path.relative_to(folder).as_posix()
        inside = given.resolve().is_relative_to(folder.resolve())
        require(inside, f"{role} must be a fingerprint, or a file in {str(folder)!r}", str(given))
        return given.resolve().relative_to(folder.resolve()).as_posix()

    def keep_all(role: str, given: Sequence[Fingerprint | Path]) -> list[str]:
        return [keep(f"{role}-{i:04d}", item) for i, item in enumerate(given)]

    evidence: dict[str, Any] = {
        "source": keep("source", source),
        "suspects": dict(zip(suspects, keep_all("suspect", list(suspects.values())), strict=True)),
        "siblings": keep_all("sibling", siblings),
        "nulls": keep_all("null", nulls),
        "thefts": {
            attack: keep_all(f"theft-{number:02d}", some)
            for number, (attack, some) in enumerate((thefts or {}).items())
        },
        "calibration": None,
    }
    if calibration is not None:
        evidence["calibration"] = f"{FINGERPRINTS}/calibration.safetensors"
        with open_regular(calibration) as before, atomic_write(folder / evidence["calibration"]) as handle:
            while chunk := before.read(1 << 20):
                handle.write(chunk)
    content = {
        "schema": CASE_SCHEMA,
        "sac_fast": package_version(),
        **verdicts.to_dict(),
        "settings": {"alpha": verdicts.alpha, **(settings or {})},
        "evidence": evidence,
        "about": dict(about or {}),
    }
    return write_json(folder / VERDICTS_FILE, content)


def load_case(folder: StrPath) -> Case:
    """Read what `save_case` wrote; the folder may be untrusted.

    Raises:
        FileFormatError: verdicts.json is missing or damaged, or names files outside of the folder.
    """
    folder = Path(folder)
    path = folder / VERDICTS_FILE
    content = read_json(path)
    try:
        require(content.get("schema") == CASE_SCHEMA, f"schema must be {CASE_SCHEMA!r}", content.get("schema"))
        evidence, settings, about = (_object(content.pop(key), key) for key in ("evidence", "settings", "about"))
        unknown = sorted(set(settings) - set(SETTINGS))
        require(not unknown, f"settings must be of {', '.join(SETTINGS)}", unknown)
        calibration = evidence["calibration"]
        return Case(
            folder,
            {key: value for key, value in content.items() if key not in ("schema", "sac_fast")},
            settings,
            _inside(folder, evidence["source"]),
            {name: _inside(folder, file) for name, file in _object(evidence["suspects"], "suspects").items()},
            tuple(_inside(folder, file) for file in evidence["siblings"]),
            tuple(_inside(folder, file) for file in evidence["nulls"]),
            {
                attack: tuple(_inside(folder, file) for file in files)
                for attack, files in _object(evidence["thefts"], "thefts").items()
            },
            None if calibration is None else _inside(folder, calibration),
            {"sac_fast": content.get("sac_fast"), **about},
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FileFormatError(f"{str(path)!r} must be the verdicts of a case, got {error}") from error


def write_json(path: Path, content: Mapping[str, Any]) -> Path:
    """Write JSON in the one form that `read_json` reads."""
    with atomic_write(path) as handle:
        handle.write(to_text(content).encode())
    return path


def to_text(content: Mapping[str, Any]) -> str:
    """JSON as it stands in files of a case."""
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from an untrusted file.

    Raises:
        FileFormatError: missing, too large, not as `write_json` writes it, or no object.
    """
    raw = read_bytes(path, MAX_JSON_BYTES)
    try:
        content = _object(json.loads(raw), "the document")
        # so that no changed byte goes unseen, not even a space
        require(to_text(content).encode() == raw, "the bytes must be as sac_fast writes them", "others")
    except (ValueError, RecursionError) as error:
        raise FileFormatError(f"{str(path)!r} must be JSON of sac_fast, got {error}") from error
    return content


def _object(value: Any, name: str) -> dict[str, Any]:
    require(isinstance(value, dict), f"{name} must be an object", type(value).__name__)
    return dict(value)


def _inside(folder: Path, name: Any) -> Path:
    """A file of the folder; names that leave it, by links too, are refused."""
    if not isinstance(name, str) or not name or Path(name).is_absolute():
        raise ValueError(f"a file must be relative, got {name!r}")
    path = folder / name
    require(path.resolve().is_relative_to(folder.resolve()), "a file must lie in the folder", name)
    return path
