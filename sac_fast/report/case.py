"""A case: verdicts in one folder with the fingerprints from which they follow, so that anyone can repeat them.

The folder is that of `sac_fast.verify.case_folder`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from ..errors import FileFormatError, require
from ..fingerprint import Fingerprint
from ..io.files import StrPath, atomic_write, leads_into, open_regular
from ..io.hashing import sha256_file
from ..io.schema import check_types
from ..models.file_origin import describe_origin
from ..probes.provenance import step_versions
from ..verify.case_folder import CaseFolder, read_verdicts, write_verdicts
from ..verify.grounds import verify_suspects
from ..verify.rows import covers, restrict_fingerprint
from ..verify.verdicts import Verdicts
from .files import read_json

#: Arguments of `verify_suspects` that a test may hold, beside α.
SETTINGS = ("ground", "score", "metric", "comparison", "kinds")
SOURCE, SUSPECTS, SIBLINGS, INDEPENDENTS, THEFTS = "source", "suspects", "siblings", "independents", "thefts"
_ROLES = (SOURCE, SUSPECTS, SIBLINGS, INDEPENDENTS, THEFTS)
# What is read of a model and of a test before anything is compared; verdicts are compared whole.
_MODEL = {"name": str, "role": str, "kind": (str, type(None)), "fingerprint": str}
_TEST = {"suspects": [str], "rows": (list, type(None)), "verdicts": dict}
_CALIBRATION = "fingerprints/calibration.safetensors"


@dataclass(frozen=True)
class Model:
    """One model of a case.

    Attributes:
        role: ``"source"``, ``"suspects"``, ``"siblings"``, ``"independents"`` or ``"thefts"``.
        file: of its fingerprint.
        about: its entry in verdicts.json.
    """

    role: str
    file: Path
    about: dict[str, Any]

    @property
    def name(self) -> str:
        """Name in the case."""
        return str(self.about["name"])

    def load(self, rows: Sequence[int] | None = None) -> Fingerprint:
        """Its outputs, on some of the probes."""
        fp = Fingerprint.load(self.file)
        if self.about.get("kind") is not None:
            fp = fp.with_kind(self.about["kind"])
        return fp if rows is None else restrict_fingerprint(fp, rows)


@dataclass(frozen=True)
class Case:
    """A folder of verdicts, read.

    Attributes:
        folder: where it lies.
        content: verdicts.json.
        models: all of its models, in their order.
    """

    folder: Path
    content: dict[str, Any]
    models: tuple[Model, ...]

    def of_role(self, role: str) -> list[Model]:
        """Models of a role."""
        return [model for model in self.models if model.role == role]

    @property
    def source(self) -> Model:
        """The owner's model."""
        return self.of_role(SOURCE)[0]

    def files(self) -> Iterator[Path]:
        """All evidence."""
        yield from (model.file for model in self.models)
        files = [self.calibration(test) for test in self.content["tests"]]
        yield from dict.fromkeys(file for file in files if file is not None)

    def calibration(self, test: Mapping[str, Any]) -> Path | None:
        """File of the calibrated score of a test; None: it has none."""
        name = test.get("calibration")
        return None if name is None else _inside(self.folder, name)

    def judge(self, test: Mapping[str, Any]) -> Verdicts:
        """The verdicts of one of `content`'s tests once more, from the fingerprints.

        Raises:
            FileFormatError, FingerprintError, ValueError: fingerprints that are damaged or cannot be compared.
        """
        rows = test["rows"]
        suspects = {model.name: model for model in self.of_role(SUSPECTS)}
        # independents that were asked serve at the looks whose probes they have
        nulls = [fp for fp in map(Model.load, self.of_role(INDEPENDENTS)) if rows is None or covers(fp, rows)]
        thefts: dict[str, list[Fingerprint]] = {}
        for model in self.of_role(THEFTS):
            thefts.setdefault(str(model.about["attack"]), []).append(model.load(rows))
        settings = dict(test.get("settings") or {})
        unknown = sorted(set(settings) - set(SETTINGS))
        require(not unknown, f"settings must be of {', '.join(SETTINGS)}", unknown, FileFormatError)
        return verify_suspects(
            self.source.load(rows),
            # a look decides some of the suspects that it compares
            {name: suspects[name].load(rows) for name in test["verdicts"]["verdict"]},
            siblings=[model.load(rows) for model in self.of_role(SIBLINGS)],
            nulls=[fp if rows is None else restrict_fingerprint(fp, rows) for fp in nulls],
            thefts=thefts,
            alpha=test["alpha"],
            calibration=self.calibration(test),
            **settings,
        )


def save_case(
    folder: StrPath,
    verdicts: Verdicts,
    *,
    source: Fingerprint,
    suspects: Mapping[str, Fingerprint],
    siblings: Sequence[Fingerprint] = (),
    nulls: Sequence[Fingerprint] = (),
    thefts: Mapping[str, Sequence[Fingerprint]] | None = None,
    settings: Mapping[str, Any] | None = None,
    calibration: StrPath | None = None,
    claims: Mapping[str, Sequence[Mapping[str, str]]] | None = None,
    files: Mapping[str, StrPath] | None = None,
    command: str | None = None,
    seconds: float | None = None,
) -> Path:
    """Write verdicts and the fingerprints from which they follow.

    Args:
        folder: made if it is missing.
        verdicts: of `verify_suspects`.
        source, suspects, siblings, nulls, thefts: what `verify_suspects` was given.
        settings: its other arguments, those of `SETTINGS`.
        calibration: file of the calibrated score; it is copied.
        claims: for suspects: claims about their origin, `dataclasses.asdict` of `ClaimResult`.
        files: weights files by name of a model, to be named by their SHA-256.
        command: what was typed.
        seconds: how long it took.

    Returns:
        The file verdicts.json.

    Raises:
        ValueError: an unknown setting.
        OSError: the folder cannot be written to.
    """
    case = CaseFolder(Path(folder))
    unknown = sorted(set(settings or {}) - set(SETTINGS))
    require(not unknown, f"settings must be of {', '.join(SETTINGS)}", unknown)
    models: list[dict[str, Any]] = []

    def keep(role: str, fp: Fingerprint, name: str, **more: str) -> None:
        # numbered: two independents may have one name
        path = case.fingerprint(role, f"{sum(model['role'] == role for model in models):04d}-{name[:40]}")
        path.parent.mkdir(parents=True, exist_ok=True)
        fp.save(path)
        given = (files or {}).get(name) if role in (SOURCE, SUSPECTS) else None
        origin = _origin_of(fp, given)
        models.append(
            {
                "name": name,
                "role": role,
                "kind": fp.kind,
                "fingerprint": path.relative_to(case.folder).as_posix(),
                "fingerprint_sha256": sha256_file(path),
                "model_hash": fp.model_hash,
                "path": None if given is None else Path(given).name,
                "file_sha256": None,
                "endpoint": None,
                "queries": None,
                **origin,
                **more,
            }
        )

    keep(SOURCE, source, source.name)
    for name, fp in suspects.items():
        keep(SUSPECTS, fp, name)
    for role, group in ((SIBLINGS, siblings), (INDEPENDENTS, nulls)):
        for fp in group:
            keep(role, fp, fp.name)
    for attack, some in (thefts or {}).items():
        for fp in some:
            keep(THEFTS, fp, fp.name, attack=attack)
    if calibration is not None:
        with open_regular(calibration) as before, atomic_write(case.folder / _CALIBRATION) as handle:
            while chunk := before.read(1 << 20):
                handle.write(chunk)
    test = {
        "suspects": list(suspects),
        "rows": None,
        "alpha": verdicts.alpha,
        "settings": dict(settings or {}),
        "calibration": None if calibration is None else _CALIBRATION,
        "looks": [],
        "claims": {name: [dict(claim) for claim in some] for name, some in (claims or {}).items()},
        "verdicts": verdicts.to_dict(),
    }
    results = {
        "name": source.name,
        "protocol_hash": None,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": seconds,
        "versions": step_versions(torch=torch.__version__),
        "command": command,
        "models": models,
        "tests": [test],
        "failed": {},
        "warnings": [],
        **{field: getattr(verdicts, field) for field in ("verdict", "p_value", "adjusted", "reason")},
    }
    write_verdicts(case, results)
    return case.verdicts


def _origin_of(fp: Fingerprint, given: StrPath | None) -> dict[str, str]:
    """Name, hash, address and revision of a model's file: of the one that was given, else as its fingerprint says."""
    if given is not None:
        found = describe_origin(given) if Path(given).is_file() else {}
    else:
        said = fp.provenance.get("file")
        found = {key: str(value) for key, value in said.items()} if isinstance(said, dict) else {}
    names = {"name": "path", "sha256": "file_sha256", "url": "url", "revision": "revision"}
    return {names[key]: value for key, value in found.items() if key in names}


def load_case(folder: StrPath) -> Case:
    """Read a case; the folder may be untrusted.

    Raises:
        FileFormatError: verdicts.json is missing or damaged, or names files outside of the folder.
    """
    case = CaseFolder(Path(folder))
    read_json(case.verdicts)  # no byte but those that sac_fast writes
    content = read_verdicts(case)
    try:
        for key, schema in (("models", _MODEL), ("tests", _TEST)):
            check_types(content[key], [schema], key)
            for row in content[key]:
                missing = [name for name in schema if name not in row]
                require(not missing, f"each of {key} must have {', '.join(schema)}", f"none of {', '.join(missing)}")
        models = tuple(Model(row["role"], _inside(case.folder, row["fingerprint"]), row) for row in content["models"])
        roles = [model.role for model in models]
        require(set(roles) <= set(_ROLES), f"roles must be of {', '.join(_ROLES)}", sorted({*roles} - {*_ROLES}))
        require(roles.count(SOURCE) == 1, "there must be one source", roles.count(SOURCE))
        # one large file under a million names would cost a million times as much
        own = len({model.file for model in models}) == len(models)
        require(own, "models must have a fingerprint each", "one of several")
        names = [model.name for model in models if model.role == SUSPECTS]
        require(len(set(names)) == len(names), "suspects must have different names", names)
        judged = [name for test in content["tests"] for name in test["suspects"]]
        require(len(judged) == len(set(judged)), "each suspect must be in one test", judged)
        require(set(judged) <= set(names), "suspects of tests must be models of the case", sorted({*judged} - {*names}))
        for test in content["tests"]:
            rows = test["rows"] or ()
            # a position that is there a thousand times would make a small report cost a million times as much
            positions = all(type(row) is int and row >= 0 for row in rows) and len(set(rows)) == len(rows)
            require(positions, "rows must be different positions", test["rows"])
        found = Case(case.folder, content, models)
        list(found.files())
        return found
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FileFormatError(f"{str(case.verdicts)!r} must be the verdicts of a case, got {error}") from error


def _inside(folder: Path, name: Any) -> Path:
    """A file of the folder; names that leave it, by links too, are refused."""
    if not isinstance(name, str) or not name or Path(name).is_absolute():
        raise ValueError(f"a file must be relative, got {name!r}")
    path = folder / name
    require(leads_into(path, folder), "a file must lie in the folder", name)
    return path
