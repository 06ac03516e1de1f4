"""The models that a case names: files, folders, patterns, stores, labelled zoos, fingerprints."""

from __future__ import annotations

import dataclasses
import glob
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import ModelError
from ..fingerprint import Fingerprint
from ..formats.identify import identify
from ..io.files import STORE_DATABASE
from ..labelled_zoo.folder import INDEX, LabelledZoo
from ..models import ModelEntry, list_entries
from ..store.store import ModelStore
from ..verify.names import unique_name
from .case import Case
from .specs import ModelSpec


@dataclass(frozen=True, eq=False)
class Found:
    """One model of a case.

    Attributes:
        name: unique among those of its role.
        spec: how the case names it.
        entry: a file that is to be run; None: see `fingerprint`, else the spec says what is asked.
        fingerprint: outputs that are there already, on the case's probes.
        kind: of an independent.
    """

    name: str
    spec: ModelSpec
    entry: ModelEntry | None = None
    fingerprint: Fingerprint | None = None
    kind: str | None = None

    @property
    def file(self) -> Path | None:
        """The model's file, where there is one."""
        return None if self.entry is None else self.entry.path


def find_models(case: Case, specs: tuple[ModelSpec, ...], probe_hash: str, role: str) -> list[Found]:
    """All models of a role.

    Args:
        case: the case.
        specs: of the role.
        probe_hash: of the case's probes.
        role: ``"suspects"`` or ``"independents"``: of a labelled zoo the former are its stolen models and its
            independents, the latter its independents alone.

    Raises:
        ModelError: nothing there, or fingerprints of other probes.
    """
    found: list[Found] = []
    for spec in specs:
        for model in _of_spec(case, spec, probe_hash, role):
            taken = [other.name for other in found]
            found.append(dataclasses.replace(model, name=unique_name(model.name, taken)))
    return found


def _of_spec(case: Case, spec: ModelSpec, probe_hash: str, role: str) -> Iterator[Found]:
    if spec.path is None:
        yield Found(spec.shown, spec, kind=spec.kind)
        return
    pattern = str(case.path(spec.path))
    paths = [Path(path) for path in sorted(glob.glob(pattern))] if glob.has_magic(pattern) else [Path(pattern)]
    if not paths:
        raise ModelError(f"{role} must be there, got nothing at {spec.path!r}")
    models = [model for path in paths for model in _of_path(case, spec, path, probe_hash, role)]
    for model in models:
        yield dataclasses.replace(model, name=spec.name) if spec.name and len(models) == 1 else model


def _of_path(case: Case, spec: ModelSpec, path: Path, probe_hash: str, role: str) -> Iterator[Found]:
    if (path / STORE_DATABASE).is_file():
        with ModelStore.open(path, write=False) as store:
            records = list(store.records(probe_hash, "done"))
            prints = [store.fingerprint(record) for record in records]
        yield from (Found(fp.name, spec, fingerprint=fp, kind=spec.kind) for fp in prints)
        if not prints:
            raise ModelError(f"store {spec.path!r} must hold outputs on the case's probes {probe_hash}, got none")
        return
    if (path / INDEX).is_file():
        zoo = LabelledZoo.load(path)
        # its source and siblings are evidence, and each is nearest to itself
        roles = ("independent",) if role == "independents" else ("stolen", "independent")
        of_roles = {member.name for member in zoo.members if member.role in roles}
        if (members := zoo.fingerprints_on(probe_hash)) is not None:
            chosen = [fp for name, fp in members.items() if name in of_roles]
            yield from (Found(fp.name, spec, fingerprint=fp, kind=spec.kind or fp.kind) for fp in chosen)
            return
        if role == "independents":
            raise ModelError(f"labelled zoo {spec.path!r} must have the case's probes {probe_hash}, got others")
    if path.is_file() and identify(path) == "fingerprint":
        fp = Fingerprint.load(path)
        if fp.probe_hash != probe_hash:
            raise ModelError(
                f"fingerprint {str(path)!r} must be of the case's probes {probe_hash}, got {fp.probe_hash}"
            )
        yield Found(path.name, spec, fingerprint=fp, kind=spec.kind or fp.kind)
        return
    preprocessing = spec.preprocessing or case.source.preprocessing
    entries = list_entries(
        path, architecture=spec.architecture, kwargs=spec.arguments, preprocessing=preprocessing, output=spec.output
    )
    if not entries:
        raise ModelError(f"{role} must hold models, got none in {spec.path!r}")
    yield from (Found(entry.name, spec, entry=entry, kind=spec.kind) for entry in entries)
