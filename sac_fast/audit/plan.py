"""What a case would do, without doing it: queries, minutes, grounds, code and hosts."""

from __future__ import annotations

import glob
import statistics
from typing import Any

from ..io.files import StrPath
from ..labelled_zoo.siblings_folder import open_siblings
from ..models import BlackBox, QueryLedger
from ..models.endpoint import parse_url
from ..packs.opened import is_address
from ..probes import ProbeSet
from ..verify.case_folder import CaseFolder
from .case import Case, load_case
from .evidence import describe_ground, family_of
from .specs import ModelSpec

_SECONDS_A_QUERY = 1.0


def plan_case(case: Case | StrPath) -> dict[str, Any]:
    """What `run_audit` would do. No code of the case is run, no host is asked, and nothing is written.

    Args:
        case: a case or its file.

    Returns:
        * ``code``: modules that would be imported and run, each with what for;
        * ``hosts``: host and port of each service, with the secrets that it would get;
        * ``siblings``: ``wanted``, ``there``, and ``minutes`` of training (None before the first one is trained);
        * ``services``: for each ``name``, ``address``, ``queries`` (most of them, repeats included), ``asked`` before,
          and ``minutes``;
        * ``ground``, ``why``, ``smallest_p``, ``alpha``, ``reaches_alpha``: whether *derived* can come out;
        * ``looks``: queries and part of α of each look at services; ``family``: what of α files and services have, and
          whether they are judged together;
        * ``suspects``, ``missing``: what is there, and paths at which nothing is.

    Example::

        >>> from pathlib import Path
        >>> text = "[source]\\npath='mine.onnx'\\n[probes]\\nimages='images'\\n[siblings]\\ntrain='mine:train'\\n"
        >>> _ = Path("case.toml").write_text(text)
        >>> plan = plan_case("case.toml")
        >>> plan["ground"], plan["smallest_p"], plan["code"], plan["missing"]
        ('siblings', 0.05, {'mine:train': 'trains siblings'}, ['mine.onnx', 'images'])
    """
    case = case if isinstance(case, Case) else load_case(case)
    folder = CaseFolder(case.folder)
    siblings = _siblings(case, folder)
    kinds = [spec.kind for spec in case.independents for _ in range(max(1, _count(case, spec)))]
    ground = describe_ground(case, siblings["wanted"], kinds)
    count = _probe_count(case, folder)
    looks = None
    services = [spec for spec in (*case.independents, *case.suspects) if spec.asked]
    family = None
    if ground["ground"] is not None:
        planned = family_of(case, count or case.queries.looks[-1], siblings["wanted"], kinds)
        family = planned.to_dict()
        if any(spec.asked for spec in case.suspects):
            pairs = zip(planned.looks.queries, planned.looks.alphas, strict=True)
            looks = [{"queries": n, "alpha": a} for n, a in pairs]
    return {
        "folder": str(case.folder),
        "code": _code(case),
        "hosts": _hosts(case),
        "probes": count,
        "siblings": siblings,
        "services": [_service(case, folder, spec) for spec in services],
        **ground,
        "alpha": case.alpha,
        "reaches_alpha": ground["smallest_p"] <= case.alpha + 1e-12,
        "looks": looks,
        "family": family,
        "suspects": {spec.shown: _count(case, spec) for spec in case.suspects},
        "missing": _missing(case),
    }


def _code(case: Case) -> dict[str, str]:
    """What would be imported, and what for."""
    found: dict[str, str] = {}
    if case.siblings is not None and case.siblings.train is not None:
        found[case.siblings.train] = "trains siblings"
    for spec in (case.source, *case.independents, *case.suspects):
        if spec.architecture is not None:
            found.setdefault(spec.architecture, "builds networks")
        if spec.predict is not None:
            found[spec.predict] = "asks a service"
    return found | {spec: "builds networks" for spec in case.architectures if spec not in found}


def _hosts(case: Case) -> dict[str, list[str]]:
    """Hosts by what they would get."""
    hosts: dict[str, list[str]] = {}
    for spec in (*case.independents, *case.suspects):
        if spec.service is not None:
            scheme, host, port = parse_url(spec.service.url)
            hosts.setdefault(f"{scheme}://{host}:{port}", []).extend(spec.service.secrets)
    for pack in case.packs:
        if is_address(pack.at):
            scheme, host, port = parse_url(pack.at)
            hosts.setdefault(f"{scheme}://{host}:{port}", [])
    return {host: sorted(set(secrets)) for host, secrets in hosts.items()}


def _siblings(case: Case, folder: CaseFolder) -> dict[str, Any]:
    spec = case.siblings
    if spec is None:
        return {"wanted": 0, "there": 0, "minutes": None}
    place = folder.siblings if spec.folder is None else case.path(spec.folder)
    zoo = open_siblings(place) if place.is_dir() else None
    members = [] if zoo is None else zoo.of_role("sibling")
    there = len(members) if zoo is not None else len(list(place.glob("*.safetensors"))) if place.is_dir() else 0
    wanted = spec.count if spec.folder is None else there
    seconds = [member.seconds for member in members if member.seconds is not None]
    left = max(0, wanted - there)
    minutes = left * statistics.median(seconds) / 60 / (spec.workers or 1) if seconds else None if left else 0.0
    return {"wanted": wanted, "there": there, "minutes": minutes}


def _service(case: Case, folder: CaseFolder, spec: ModelSpec) -> dict[str, Any]:
    """Queries and minutes of one service; what it was asked before is in the ledger."""
    asked, seconds = 0, None
    ledger = case.ledger(folder)
    if ledger.exists() and spec.service is not None:
        with QueryLedger(ledger) as queries:
            box = BlackBox(lambda images: [], ledger=queries, key=spec.service.key)
            asked, seconds = box.counts["asked"], box.seconds_a_query()
    most = case.queries.looks[-1] + case.queries.repeats
    each = (seconds or _SECONDS_A_QUERY) / (spec.service.concurrency if spec.service is not None else 1)
    if spec.service is not None and spec.service.rate is not None:
        each = max(each, 1 / spec.service.rate)
    address = spec.predict if spec.service is None else spec.service.url.partition("?")[0]
    minutes = max(0, most - asked) * each / 60
    return {"name": spec.shown, "address": address, "queries": most, "asked": asked, "minutes": minutes}


def _probe_count(case: Case, folder: CaseFolder) -> int | None:
    """Number of probes, where they are made already or the case says it."""
    return len(ProbeSet.load(folder.probes)) if folder.probes.exists() else case.probes.limit


def _count(case: Case, spec: ModelSpec) -> int:
    if spec.path is None:
        return 1
    pattern = str(case.path(spec.path))
    return len(glob.glob(pattern)) if glob.has_magic(pattern) else int(case.path(spec.path).exists())


def _missing(case: Case) -> list[str]:
    specs = (case.source, *case.independents, *case.suspects)
    paths = [spec.path for spec in specs if spec.path is not None and not _count(case, spec)]
    paths += [spec.answers for spec in specs if spec.answers is not None and not case.path(spec.answers).exists()]
    paths += [pack.at for pack in case.packs if not is_address(pack.at) and not case.path(pack.at).exists()]
    if not case.path(case.probes.images).exists():
        paths.append(case.probes.images)
    if case.siblings is not None and case.siblings.folder is not None and not case.path(case.siblings.folder).is_dir():
        paths.append(case.siblings.folder)
    return paths
