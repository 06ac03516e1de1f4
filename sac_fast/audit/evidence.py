"""What a case rests on before suspects are looked at: probes, siblings, source, independents."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import ModelError
from ..fingerprint import Fingerprint
from ..io.files import atomic_write, read_regular
from ..io.hashing import hash_json
from ..labelled_zoo.plan import Architecture
from ..labelled_zoo.siblings import make_siblings
from ..labelled_zoo.siblings_folder import sibling_fingerprints
from ..models import QueryLedger, Secrets
from ..models.kinds import KINDS
from ..packs.opened import is_address, open_pack
from ..probes import ProbeSet
from ..verify.case_folder import CaseFolder
from ..verify.grounds import choose_ground
from ..verify.rows import rows_of
from ..verify.stages import query_order
from .case import Case
from .family import Family, plan_family
from .gather import Found, find_models
from .outputs import Services, read_answers, rename, run_files
from .specs import ModelSpec

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
        family: how α is shared, and the looks at services.
        services: what independents behind services were asked, by name.
        service_keys: of these services in the ledger.
        warnings: remarks for the reader.
    """

    probes: ProbeSet
    source: tuple[Found, Fingerprint]
    siblings: list[Fingerprint]
    nulls: list[Fingerprint]
    independents: list[Found]
    family: Family
    services: dict[str, dict[str, Any]] = field(default_factory=dict)
    service_keys: tuple[str, ...] = ()
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


def gather_evidence(case: Case, folder: CaseFolder, secrets: Secrets, *, progress: bool = False) -> Evidence:
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

    ours = of("source", source)
    others, more = _of_packs(case, folder, probes)
    siblings = [fp for fp in (*siblings, *others) if fp.model_hash is None or fp.model_hash != ours.model_hash]
    independents += more
    family = family_of(case, len(probes), len(siblings), [model.kind for model in independents])
    order = query_order([ours, *siblings])
    asked, boxes = _ask_independents(case, folder, probes, independents, order, secrets, progress)
    nulls = [asked[model.name] if model.name in asked else of("independents", model) for model in independents]
    partial = [fp.name for fp in nulls if rows_of(fp) is not None]
    if partial:
        some = f"{', '.join(partial[:5])}{' …' if len(partial) > 5 else ''} answered some of the probes"
        warnings.append(f"{some}: they serve for suspects on these, and for all where no other independent is there")
    return Evidence(probes, (source, ours), siblings, nulls, independents, family, boxes[0], boxes[1], warnings)


def _ask_independents(
    case: Case,
    folder: CaseFolder,
    probes: ProbeSet,
    independents: Sequence[Found],
    order: npt.NDArray[np.int64],
    secrets: Secrets,
    progress: bool,
) -> tuple[dict[str, Fingerprint], tuple[dict[str, dict[str, Any]], tuple[str, ...]]]:
    """Answers of independents that are recorded or behind services, and what the services were asked.

    Services are asked for the probes of the last look, the same as suspects are.
    """
    found = {model.name: read_answers(case, probes, model) for model in independents if model.spec.answers is not None}
    services = [model for model in independents if model.spec.asked]
    if not services:
        return found, ({}, ())
    with QueryLedger(case.ledger(folder)) as ledger:
        asked = Services(case, probes, services, ledger, secrets, progress)
        rows = sorted(order[: case.queries.looks[-1]].tolist())
        found |= asked.ask(rows, list(asked.boxes))
        if asked.failed:
            name, reason = next(iter(asked.failed.items()))
            raise ModelError(f"independents {name!r} must answer, got {reason}")
        summaries = {name: box.summary() for name, box in asked.boxes.items()}
        return found, (summaries, tuple(box.key for box in asked.boxes.values()))


def _of_packs(case: Case, folder: CaseFolder, probes: ProbeSet) -> tuple[list[Fingerprint], list[Found]]:
    """Siblings and independents of the case's packs; a pack from an address is kept in the folder."""
    siblings: list[Fingerprint] = []
    independents: list[Found] = []
    for spec in case.packs:
        at = spec.at if is_address(spec.at) else case.path(spec.at)
        pack = open_pack(at, spec.hash, keep=folder.folder / "packs").on(probes.content_hash)
        siblings += pack.fingerprints("siblings")
        found = ModelSpec(path=spec.at)
        independents += [Found(fp.name, found, fingerprint=fp, kind=fp.kind) for fp in pack.fingerprints()]
    return siblings, independents


def family_of(case: Case, probes: int, siblings: int, kinds: Sequence[str | None]) -> Family:
    """How α is shared, and the looks at services, with the parts of α that the ground can reach.

    Args:
        case: the case.
        probes, siblings: how many.
        kinds: of the independents.
    """
    smallest = min(1.0, smallest_p_of(case, siblings, kinds))
    sizes = sorted({min(count, probes) for count in case.queries.looks})
    return plan_family(case.family, case.suspects, sizes, smallest, case.alpha, case.queries.spending)


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
