"""A case: everything that an audit needs, read from one TOML file.

A case is code: it names modules that are imported and hosts that are asked. `plan_case` lists them. Its tables and keys
are those of the dataclasses below.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import FileFormatError, ModelError, describe_error
from ..formats.toml_text import parse_toml
from ..io.choices import Ground
from ..io.files import StrPath, read_regular
from ..io.hashing import is_hash
from ..models.endpoint import ANSWER_FORMS, endpoint_from_table
from ..models.kinds import KINDS
from ..models.output_form import OUTPUT_FORMS
from ..models.preprocessing import Preprocessing
from ..models.service_file import read_service_file
from ..ops.arguments import check_choice
from ..verdict.checks import check_rate
from ..verify.case_folder import CaseFolder
from ..verify.grounds import GROUNDS, SCORES
from ..verify.stages import SPENDING
from .family import FAMILIES
from .specs import ModelSpec, PackSpec, ProbesSpec, QueriesSpec, SiblingsSpec

MAX_CASE_BYTES = 8 << 20
_PIXELS = tuple(item.name for item in dataclasses.fields(Preprocessing))


@dataclass(frozen=True)
class Case:
    """A case.

    Attributes:
        name: for the report.
        base: folder that relative paths begin at, and in which code is found.
        folder: where results are written.
        source: your model.
        probes, siblings, queries: see there.
        independents, suspects: models.
        packs: of others' answers.
        architectures: of which one must fit weights for which none is named.
        alpha, ground, score, kinds: of `verify_suspects`; no kinds: its default. α bounds the false accusations of the
            whole case.
        family: how α is shared between files and services, see `plan_family`.
        weights: whether weights files of source and suspects are compared beside the verdicts.
        ancestor: weights from which both may come.
        text: the file, as it was read.
    """

    name: str
    base: Path
    folder: Path
    source: ModelSpec
    probes: ProbesSpec
    siblings: SiblingsSpec | None = None
    queries: QueriesSpec = field(default_factory=QueriesSpec)
    independents: tuple[ModelSpec, ...] = ()
    suspects: tuple[ModelSpec, ...] = ()
    packs: tuple[PackSpec, ...] = ()
    architectures: tuple[str, ...] = ()
    alpha: float = 0.05
    ground: Ground = "auto"
    score: str = "default"
    kinds: tuple[str, ...] = ()
    family: str = "auto"
    weights: bool = True
    ancestor: str | None = None
    text: bytes = b""

    @property
    def settings(self) -> dict[str, Any]:
        """Further arguments of `verify_suspects`, as JSON values."""
        return {"ground": self.ground, "score": self.score, **({"kinds": list(self.kinds)} if self.kinds else {})}

    def ledger(self, folder: CaseFolder) -> Path:
        """The file with the queries to services."""
        return folder.ledger if self.queries.ledger is None else self.path(self.queries.ledger)

    def path(self, text: str) -> Path:
        """A path of the case."""
        return self.base / Path(text).expanduser()


def load_case(path: StrPath) -> Case:
    """Read a case file.

    Args:
        path: TOML; relative paths in it begin at its folder. Results go to ``folder``, by default the file's name
            with ``-audit`` in place of ``.toml``.

    Raises:
        FileFormatError: no TOML, an unknown key, or a wrong value; the message names the table.

    Example::

        >>> from pathlib import Path
        >>> _ = Path("case.toml").write_text("[source]\\npath = 'mine.onnx'\\n[probes]\\nimages = 'images'\\n")
        >>> load_case("case.toml").folder.name
        'case-audit'
    """
    file = Path(path).absolute()
    content = read_regular(file, MAX_CASE_BYTES, "as a case")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        found = f"byte 0x{content[error.start]:02x} at position {error.start:,}"
        raise FileFormatError(f"case {str(path)!r} must be TOML, a text in UTF-8, got {found}") from error
    try:
        known = parse_toml(text)
        source, probes = (_take_table(known, key) for key in ("source", "probes"))
        siblings, queries = known.pop("siblings", None), known.pop("queries", {})
        independents, suspects = known.pop("independents", []), known.pop("suspects", [])
        base = file.parent
        folder = base / str(known.pop("folder", f"{file.stem}-audit"))
        made = Case(
            name=str(known.pop("name", file.stem)),
            base=base,
            folder=folder,
            source=_model("source", source, base),
            probes=_probes(probes),
            siblings=None if siblings is None else _siblings(siblings),
            queries=_queries(queries),
            independents=tuple(_model("independents", entry, base) for entry in independents),
            suspects=tuple(_model("suspects", entry, base) for entry in suspects),
            packs=tuple(_pack(entry) for entry in known.pop("packs", [])),
            architectures=tuple(known.pop("architectures", ())),
            alpha=check_rate("alpha", known.pop("alpha", 0.05)),
            ground=known.pop("ground", "auto"),
            score=known.pop("score", "default"),
            kinds=tuple(known.pop("kinds", ())),
            family=known.pop("family", "auto"),
            weights=known.pop("weights", True),
            ancestor=known.pop("ancestor", None),
            text=content,
        )
        if known:
            raise ValueError(f"unknown keys {', '.join(sorted(known))}")
        check_choice("ground", made.ground, GROUNDS)
        check_choice("score", made.score, SCORES)
        check_choice("family", made.family, FAMILIES)
        if not isinstance(made.weights, bool):
            raise ValueError(f"weights must be true or false, got {made.weights!r}")
        if not isinstance(made.ancestor, str | None):
            raise ValueError(f"ancestor must be a path, got {made.ancestor!r}")
        for kind in made.kinds:
            check_choice("kinds", kind, KINDS)
        if made.source.path is None:
            raise ValueError("[source] must have a path")
    except (TypeError, ValueError, ModelError, KeyError, AttributeError, RecursionError) as error:
        raise FileFormatError(f"case {str(path)!r}: {describe_error(error)}") from error
    return made


def _take_table(known: dict[str, Any], key: str) -> dict[str, Any]:
    if not isinstance(known.get(key), dict):
        raise ValueError(f"a table [{key}] must be there, got {type(known.get(key)).__name__}")
    return dict(known.pop(key))


def _fields(where: str, table: Any, spec: type) -> dict[str, Any]:
    """A table's values, its keys checked; lists become tuples."""
    if not isinstance(table, Mapping):
        raise ValueError(f"[{where}] must be a table, got {type(table).__name__}")
    names = [item.name for item in dataclasses.fields(spec)]
    if unknown := sorted(set(table) - set(names)):
        raise ValueError(f"[{where}] must have keys of {', '.join(names)}, got {', '.join(unknown)}")
    return {key: tuple(value) if isinstance(value, list) else value for key, value in table.items()}


def _model(where: str, table: Any, base: Path) -> ModelSpec:
    pixels = {key: table[key] for key in _PIXELS if key in table}
    values = _fields(where, {key: value for key, value in table.items() if key not in _PIXELS}, ModelSpec)
    if pixels:
        values["preprocessing"] = Preprocessing.from_dict(pixels)
    if isinstance(values.get("service"), str):
        values.setdefault("name", Path(values["service"]).stem)
        values["service"] = read_service_file(base / values["service"])
    elif "service" in values:
        values["service"] = endpoint_from_table(values["service"])
    given = [key for key in ("path", "service", "answers", "predict") if key in values]
    if len(given) != 1:
        raise ValueError(f"[{where}] must have one of path, service, answers and predict, got {given or 'none'}")
    for key in ("path", "answers", "predict", "name", "architecture"):
        _check_type(where, values, key, str)
    _check_type(where, values, "arguments", Mapping)
    if values.get("kind") is not None:
        check_choice("kind", values["kind"], KINDS)
    if values.get("output_form") is not None:
        check_choice("output_form", values["output_form"], ANSWER_FORMS if "predict" in values else OUTPUT_FORMS)
    return ModelSpec(**values)


def _probes(table: Any) -> ProbesSpec:
    values = _fields("probes", table, ProbesSpec)
    if isinstance(values.get("size"), int):
        values["size"] = (values["size"], values["size"])
    _check_type("probes", values, "images", str)
    for key in ("limit", "seed", "severity"):
        _check_type("probes", values, key, int)
    return ProbesSpec(**values)


def _siblings(table: Any) -> SiblingsSpec:
    values = _fields("siblings", table, SiblingsSpec)
    if ("train" in values) == ("folder" in values):
        raise ValueError("[siblings] must have either train or folder")
    for key in ("train", "folder"):
        _check_type("siblings", values, key, str)
    for key in ("count", "workers"):
        _check_type("siblings", values, key, int)
    return SiblingsSpec(**values)


def _pack(table: Any) -> PackSpec:
    values = _fields("packs", table, PackSpec)
    _check_type("packs", values, "at", str)
    if "at" not in values or not is_hash(values.get("hash")):
        raise ValueError('[packs] must have at and hash, "sha256:" and 64 digits from its maker')
    return PackSpec(**values)


def _queries(table: Any) -> QueriesSpec:
    values = _fields("queries", table, QueriesSpec)
    for key in ("budget", "repeats"):
        _check_type("queries", values, key, int)
    looks = values.get("looks", (2,))
    rising = all(type(n) is int and n >= 2 for n in looks) and list(looks) == sorted(set(looks)) and bool(looks)
    if not rising:
        raise ValueError(f"[queries] must have looks that rise, got {list(looks)}")
    check_choice("spending", values.get("spending", "exact"), SPENDING)
    return QueriesSpec(**values)


def _check_type(where: str, values: Mapping[str, Any], key: str, kind: Any) -> None:
    value = values.get(key)
    if value is not None and (not isinstance(value, kind) or isinstance(value, bool)):
        raise ValueError(f"[{where}] must have {key} of type {kind.__name__}, got {value!r}")
