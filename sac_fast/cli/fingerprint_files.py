"""Fingerprints that options of `sac-fast verify` name: nulls with their kinds, siblings, labelled zoos."""

from __future__ import annotations

import glob
from pathlib import Path
from typing import TYPE_CHECKING

from .checks import refuse_if

if TYPE_CHECKING:
    from ..fingerprint import Fingerprint


def load_suspects(given: list[str]) -> dict[str, Fingerprint]:
    """Fingerprints by name: of files, of folders of them, and of patterns that no shell has expanded."""
    from ..fingerprint import Fingerprint
    from ..verify.names import unique_name

    found: dict[str, Fingerprint] = {}
    for text in given:
        paths = [Path(text)]
        if not paths[0].exists() and glob.has_magic(text):
            paths = [Path(path) for path in sorted(glob.glob(text))]
        refuse_if(not paths or not paths[0].exists(), "SUSPECT", f"must be there, got nothing at {text!r}")
        for file in [file for path in paths for file in _files(path, "SUSPECT")]:
            fp = Fingerprint.load(file)
            found[unique_name(fp.name, found)] = fp
    return found


def load_nulls(given: list[str]) -> list[Fingerprint]:
    """Fingerprints of ``PATH`` or ``KIND=PATH``: files or folders; the kind counts for all that is there."""
    from ..fingerprint import Fingerprint

    found: list[Fingerprint] = []
    for text in given:
        kind, path = split_kind(text, "--null")
        loaded = [Fingerprint.load(file) for file in _files(path, "--null")]
        found += loaded if kind is None else [fp.with_kind(kind) for fp in loaded]
    return found


def split_kind(text: str, option: str) -> tuple[str | None, Path]:
    """Kind and path of ``PATH`` or ``KIND=PATH``."""
    from ..models.kinds import KINDS

    before, equals, after = text.partition("=")
    kind, path = (before, Path(after)) if equals and not Path(text).exists() else (None, Path(text))
    refuse_if(bool(equals) and not after, option, f"must name a path, got {text!r}")
    known = f"PATH or KIND=PATH with one of the kinds {', '.join(KINDS)}"
    refuse_if(kind not in (None, *KINDS), option, f"must be {known}, got {text!r}")
    return kind, path


def load_packs(at: list[str], hashes: list[str], source: Fingerprint) -> tuple[list[Fingerprint], list[Fingerprint]]:
    """Siblings and independents of packs on the source's probes; each has its hash, in their order."""
    from ..io.hashing import is_hash
    from ..packs.opened import open_pack

    wrong = len(at) != len(hashes) or not all(map(is_hash, hashes))
    refuse_if(wrong, "--pack-hash", f'must be "sha256:" and 64 digits for each of {len(at)} packs, got {len(hashes)}')
    packs = [open_pack(place, hash).on(source.probe_hash) for place, hash in zip(at, hashes, strict=True)]
    siblings = [fp for pack in packs for fp in pack.fingerprints("siblings")]
    return siblings, [fp for pack in packs for fp in pack.fingerprints("independents")]


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
    from ..labelled_zoo.folder import ROLES, LabelledZoo

    zoo = LabelledZoo.load(folder)
    found = zoo.fingerprints_on(source.probe_hash)
    if found is None:
        raise FileNotFoundError(f"{str(folder)!r} must have the source's probes {source.probe_hash}, got other sets")
    of_role = {role: [found[m.name] for m in zoo.of_role(role) if m.name in found] for role in ROLES}
    thefts: dict[str, list[Fingerprint]] = {}
    for member in zoo.of_role("stolen"):
        if member.name in found:
            thefts.setdefault(member.origin, []).append(found[member.name])
    return of_role["sibling"], of_role["independent"], thefts


def _files(path: Path, option: str) -> list[Path]:
    inside = sorted(path.glob("*.safetensors")) if path.is_dir() else [path]
    if not inside:
        raise FileNotFoundError(f"{option} folder {str(path)!r} must hold *.safetensors files, got none")
    return inside
