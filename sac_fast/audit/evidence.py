"""What a case rests on before suspects are looked at: probes, siblings, source, independents."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import ModelError
from ..fingerprint import Fingerprint
from ..io.files import atomic_write, read_regular
from ..io.hashing import hash_json
from ..labelled_zoo.plan import Architecture
from ..labelled_zoo.siblings import make_siblings
from ..labelled_zoo.siblings_folder import sibling_fingerprints
from ..models.kinds import KINDS
from ..probes import ProbeSet
from ..verify.case_folder import CaseFolder
from ..verify.grounds import choose_ground
from ..verify.stages import Looks, plan_looks
from .case import Case
from .gather import Found, find_models
from .outputs import rename, run_files

_MADE_FROM = "probes.json"
_MAX_MADE_FROM = 1 << 20


@dataclass(frozen=True)
class Evidence:
    """What suspects are compared with.

    Attributes:
        probes: the images.
        source: fingerprint of the source, and how the case names it.
        siblings, nulls: fingerprints.
        independents: how the case names the nulls, in their order.
        looks: at services.
        warnings: remarks for the reader.
    """

    probes: ProbeSet
    source: tuple[Found, Fingerprint]
    siblings: list[Fingerprint]
    nulls: list[Fingerprint]
    independents: list[Found]
    looks: Looks
    warnings: list[str] = field(default_factory=list)


def make_probes(case: Case, folder: CaseFolder, *, progress: bool = False) -> ProbeSet:
    """The probes of the case, made once.

    Raises:
        ModelError: the folder holds probes that were made otherwise.
    """
    spec = case.probes
    recipe = hash_json({**spec.__dict__, "size": None if spec.size is None else list(spec.size)})
    note = folder.folder / _MADE_FROM
    if folder.probes.exists():
        if json.loads(read_regular(note, _MAX_MADE_FROM))["recipe"] != recipe:
            raise ModelError(f"[probes] must be as they were when {str(folder.probes)!r} was made, got others")
        return ProbeSet.load(folder.probes)
    source = case.path(spec.images)
    if source.is_dir():
        drawn = spec.limit is not None
        made = ProbeSet.from_folder(
            source, size=spec.size, limit=spec.limit, seed=spec.seed if drawn else None, progress=progress
        )
    elif source.suffix.lower() in (".h5", ".hdf5"):
        made = ProbeSet.from_hdf5(source, limit=spec.limit)
    else:
        made = ProbeSet.load(source)
        if spec.limit is not None:
            made = made.subset(range(min(spec.limit, len(made))))
    if spec.severity is not None:
        made = made.jpeg(severity=spec.severity)
    with atomic_write(note) as handle:
        handle.write(json.dumps({"recipe": recipe}).encode())
    made.save(folder.probes)
    return made


def make_case_siblings(
    case: Case, folder: CaseFolder, probes: ProbeSet, *, progress: bool = False
) -> tuple[list[Fingerprint], list[str]]:
    """Fingerprints of the siblings, trained where they are missing; and what is to be said of them."""
    spec = case.siblings
    if spec is None:
        return [], []
    if spec.folder is not None:
        return sibling_fingerprints(case.path(spec.folder), probes.content_hash), []
    source = case.source
    known = source.architecture is not None
    model = Architecture(source.architecture, source.arguments) if source.architecture is not None else None
    made = make_siblings(
        spec.train, folder.siblings,
        count=spec.count, source=case.path(source.path) if known and source.path is not None else None, model=model,
        probes={"case": probes}, preprocessing=source.preprocessing, output=source.output,
        output_form=source.output_form, workers=spec.workers, progress=progress,
    )  # fmt: skip
    if made["failed"]:
        name, reason = next(iter(made["failed"].items()))
        raise ModelError(f"[siblings] must all be trained, but {name} failed: {reason}; the next run tries again")
    return sibling_fingerprints(folder.siblings, probes.content_hash), list(made["warnings"])


def gather_evidence(case: Case, folder: CaseFolder, *, progress: bool = False) -> Evidence:
    """Probes, siblings, source and independents, made or taken from the folder."""
    probes = make_probes(case, folder, progress=progress)
    siblings, warnings = make_case_siblings(case, folder, probes, progress=progress)
    sources = find_models(case, (case.source,), probes.content_hash, "source")
    if len(sources) != 1:
        raise ModelError(f"[source] must name one model, got {len(sources)}")
    source = sources[0]
    independents = find_models(case, case.independents, probes.content_hash, "independents")
    models = {"source": [source], "independents": independents}
    prints, _ = run_files(case, folder, probes, models, progress=progress)

    def of(role: str, model: Found) -> Fingerprint:
        return prints[role, model.name] if model.fingerprint is None else rename(model.fingerprint, model)

    for model in independents:
        if model.entry is None and model.fingerprint is None:
            raise ModelError(f"[independents] must be files or fingerprints, got {model.name!r}")
    ours = of("source", source)
    siblings = [fp for fp in siblings if fp.model_hash is None or fp.model_hash != ours.model_hash]
    nulls = [of("independents", model) for model in independents]
    looks = looks_of(case, len(probes), siblings, nulls)
    return Evidence(probes, (source, ours), siblings, nulls, independents, looks, warnings)


def looks_of(case: Case, probes: int, siblings: Sequence[object], nulls: Sequence[Fingerprint]) -> Looks:
    """The looks at services, with the parts of α that the ground can reach."""
    smallest = smallest_p_of(case, len(siblings), [fp.kind for fp in nulls])
    sizes = sorted({min(count, probes) for count in case.queries.looks})
    return plan_looks(sizes, smallest, case.alpha, spending=case.queries.spending)


def smallest_p_of(case: Case, siblings: int, kinds: Sequence[str | None]) -> float:
    """The smallest p-value that the case's ground can reach; 1 where there is no ground."""
    ground, _ = choose_ground(siblings, len(kinds), case.ground, case.score, case.alpha)
    counts = Counter(kind for kind in kinds if kind in KINDS)
    nulls = min(counts.values()) if counts else len(kinds)
    of_ground = {"siblings": 1 / (siblings + 1), "null pool": 1 / (nulls + 1)}
    return 2 * max(of_ground.values()) if ground == "both" else of_ground[ground]


def describe_ground(case: Case, siblings: int, kinds: Sequence[str | None]) -> dict[str, Any]:
    """Ground, why, and the smallest p-value it can reach; what is missing where there is none."""
    try:
        ground, why = choose_ground(siblings, len(kinds), case.ground, case.score, case.alpha)
    except ValueError as error:
        return {"ground": None, "why": str(error), "smallest_p": 1.0}
    return {"ground": ground, "why": why, "smallest_p": min(1.0, smallest_p_of(case, siblings, kinds))}
