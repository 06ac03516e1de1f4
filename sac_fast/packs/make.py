"""Make a pack of fingerprints: what leaves the house, and what does not."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from ..errors import FileFormatError, FingerprintError, require
from ..fingerprint import Fingerprint
from ..formats.identify import identify
from ..labelled_zoo.folder import INDEX, LabelledZoo
from ..labelled_zoo.siblings_folder import SiblingFolder, open_siblings
from ..probes import ProbeSet
from ..report.case import INDEPENDENTS, SIBLINGS, load_case
from ..verify.case_folder import CaseFolder
from .pack import MAX_MEMBERS, MAX_TEXT, Pack, PackMember, Role


def make_pack(
    independents: Sequence[Fingerprint],
    probes: ProbeSet,
    *,
    probes_at: str,
    siblings: Sequence[Fingerprint] = (),
    note: str | None = None,
) -> Pack:
    """Make a pack of models' outputs on a published probe set.

    Of a model it holds name, kind, hash of its weights, output form and hash of its preprocessing, and its outputs; no
    images, no paths, and nothing else of its provenance.

    Args:
        independents: fingerprints on the probes, with their kinds.
        probes: the probe set.
        probes_at: where others can get it: an address or a text.
        siblings: of your own model. Whoever has them can train towards them: pack them only for a case of your own.
        note: for who reads it.

    Returns:
        The pack; `Pack.save` writes it and gives the hash.

    Raises:
        FingerprintError: a fingerprint of other probes.
        ValueError: no model, too many, or texts that are too long.

    Example::

        >>> probes = sac_fast.ProbeSet.from_arrays(np.arange(480, dtype=np.uint8).reshape(10, 4, 4, 3))
        >>> theirs = sac_fast.fingerprint(lambda batch: batch.mean(dim=(2, 3)), probes, name="a", kind="same-data")
        >>> make_pack([theirs], probes, probes_at="https://example.org/probes").summary()["independents"]
        {'same-data': 1}
    """
    named: list[tuple[Role, Fingerprint]] = [("independents", fp) for fp in independents]
    named += [("siblings", fp) for fp in siblings]
    require(0 < len(named) <= MAX_MEMBERS, f"a pack must have 1 … {MAX_MEMBERS:,} models", len(named))
    for text in (probes_at, note or "", *(fp.name for _, fp in named)):
        require(len(text) <= MAX_TEXT, f"texts must have at most {MAX_TEXT} characters", len(text))
    require(probes_at, "probes_at must say where the probe set can be got", probes_at)
    for _, fp in named:
        if fp.probe_hash != probes.content_hash or len(fp) != len(probes):
            wanted = f"{fp.name!r} must be of the probes {probes.content_hash} ({len(probes)} rows)"
            raise FingerprintError(f"{wanted}, got {fp.probe_hash} ({len(fp)} rows)")
    return Pack(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        probe_hash=probes.content_hash,
        count=len(probes),
        probes_at=probes_at,
        members=tuple(_member(role, fp) for role, fp in named),
        outputs=tuple(fp.outputs for _, fp in named),
        note=note,
    )


def _member(role: Role, fp: Fingerprint) -> PackMember:
    known = fp.provenance
    form = known.get("output_form")
    declared = form is not None and bool(known.get("output_form_declared", True))
    kind = None if role == "siblings" else fp.kind
    return PackMember(fp.name, role, kind, fp.model_hash, form, declared, known.get("preprocessing_hash"))


def find_members(
    places: Iterable[tuple[str | None, Path]], probe_hash: str, *, with_siblings: bool = False
) -> tuple[list[Fingerprint], list[Fingerprint]]:
    """Independents and siblings among fingerprints, folders of them, cases, labelled zoos and folders of siblings.

    A source, suspects and stolen models of a case or a zoo are never among them, and siblings only where they are asked
    for.

    Args:
        places: kind, which overrides what the files say, and file or folder.
        probe_hash: of the probe set; models without outputs on it are left out of zoos.
        with_siblings: siblings too.

    Raises:
        FileFormatError: nothing that may be packed.
    """
    independents: list[Fingerprint] = []
    siblings: list[Fingerprint] = []
    for kind, path in places:
        before = len(independents) + len(siblings)
        for role, fp in _of_place(path, probe_hash):
            if role == "siblings" or fp.kind == "sibling":
                siblings += [fp] if with_siblings else []
            else:
                independents.append(fp if kind is None else fp.with_kind(kind))
        if len(independents) + len(siblings) == before:
            known = f"independents, or siblings with --with-siblings, with outputs on the probes {probe_hash}"
            raise FileFormatError(f"{str(path)!r} must hold {known}, got none")
    return independents, siblings


def _of_place(path: Path, probe_hash: str) -> Iterable[tuple[Role, Fingerprint]]:
    if path.is_file():
        yield "independents", Fingerprint.load(path)
        return
    if CaseFolder(path).verdicts.is_file():
        case = load_case(path)
        yield from (("independents", model.load()) for model in case.of_role(INDEPENDENTS))
        yield from (("siblings", model.load()) for model in case.of_role(SIBLINGS))
        return
    zoo = open_siblings(path) or (LabelledZoo.load(path) if (path / INDEX).is_file() else None)
    if zoo is not None:
        yield from (("siblings", fp) for fp in (zoo.fingerprints_on(probe_hash, "sibling") or {}).values())
        if not isinstance(zoo, SiblingFolder):
            yield from (("independents", fp) for fp in (zoo.fingerprints_on(probe_hash, "independent") or {}).values())
        return
    for file in sorted(path.glob("*.safetensors")):
        if identify(file) == "fingerprint":
            yield "independents", Fingerprint.load(file)
