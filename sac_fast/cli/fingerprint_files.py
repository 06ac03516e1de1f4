"""Fingerprints that options of `sac-fast verify` name: nulls with their kinds, siblings, labelled zoos."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from .checks import refuse_if

if TYPE_CHECKING:
    from ..fingerprint import Fingerprint
    from ..labelled_zoo.folder import LabelledZoo, Role


def load_nulls(given: list[str]) -> list[Fingerprint]:
    """Fingerprints of ``PATH`` or ``KIND=PATH``: files or folders; the kind counts for all that is there."""
    from ..fingerprint import Fingerprint
    from ..models.kinds import KINDS

    found: list[Fingerprint] = []
    for text in given:
        before, equals, after = text.partition("=")
        kind, path = (before, Path(after)) if equals and not Path(text).exists() else (None, Path(text))
        known = f"PATH or KIND=PATH with one of the kinds {', '.join(KINDS)}"
        refuse_if(kind not in (None, *KINDS), "--null", f"must be {known}, got {text!r}")
        loaded = [Fingerprint.load(file) for file in _files(path, "--null")]
        found += loaded if kind is None else [fp.with_kind(kind) for fp in loaded]
    return found


def load_siblings(folder: Path, source: Fingerprint) -> list[Fingerprint]:
    """Fingerprints of siblings on the source's probes: of `siblings make`, of a labelled zoo, or a plain folder.

    A sibling with the source's weights is the source, and left out.
    """
    from ..labelled_zoo.siblings_folder import sibling_fingerprints

    siblings = sibling_fingerprints(folder, source.probe_hash)
    return [fp for fp in siblings if fp.model_hash is None or fp.model_hash != source.model_hash]


def load_zoo(
    folder: Path, source: Fingerprint
) -> tuple[list[Fingerprint], list[Fingerprint], dict[str, list[Fingerprint]]]:
    """Siblings, independents with their kinds, and stolen models by attack, of a labelled zoo."""
    from ..fingerprint import Fingerprint
    from ..labelled_zoo.folder import LabelledZoo

    zoo = LabelledZoo.load(folder)
    origins = {member.name: member.origin for member in zoo.members}
    siblings = [Fingerprint.load(file) for file in _of_role(zoo, source, "sibling").values()]
    independents = _of_role(zoo, source, "independent")
    nulls = [Fingerprint.load(file).with_kind(origins[name]) for name, file in independents.items()]
    thefts: dict[str, list[Fingerprint]] = {}
    for name, file in _of_role(zoo, source, "stolen").items():
        thefts.setdefault(origins[name], []).append(Fingerprint.load(file))
    return siblings, nulls, thefts


def _of_role(zoo: LabelledZoo, source: Fingerprint, role: Role) -> dict[str, Path]:
    """Fingerprint files of the members of a role on the source's probes, by name."""
    for probes in zoo.probes:
        if zoo.load_probes(probes).content_hash == source.probe_hash:
            files = {member.name: zoo.fingerprint_file(probes, member) for member in zoo.of_role(role)}
            return {name: file for name, file in files.items() if file.is_file()}
    raise FileNotFoundError(f"{str(zoo.folder)!r} must have the source's probes {source.probe_hash}, got other sets")


def _files(path: Path, option: str) -> list[Path]:
    inside = sorted(path.glob("*.safetensors")) if path.is_dir() else [path]
    if not inside:
        raise FileNotFoundError(f"{option} folder {str(path)!r} must hold *.safetensors files, got none")
    return inside
