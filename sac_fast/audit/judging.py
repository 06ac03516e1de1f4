"""Look at a case's suspects: files and answers at once, services in looks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import ModelError
from ..fingerprint import Fingerprint
from ..models import QueryLedger, Secrets
from ..probes.export import image_key
from ..verify.case_folder import CaseFolder
from ..verify.grounds import verify_suspects
from ..verify.stages import judge_in_looks, query_order
from ..verify.weights import WeightsResult
from .case import Case
from .evidence import Evidence
from .gather import Found, find_models
from .outputs import Services, read_answers, rename, run_files
from .results import describe_test, model_rows, service_tests
from .weights import compare_files

_MERGED = ("verdict", "p_value", "adjusted", "reason")


def judge_case(
    case: Case, folder: CaseFolder, evidence: Evidence, committed: float, secrets: Secrets, progress: bool
) -> dict[str, Any]:
    """Judge all suspects and write their fingerprints.

    Args:
        case, folder, evidence: the case.
        committed: when the protocol was, seconds since the epoch.
        secrets: for services.
        progress: bars on stderr.

    Returns:
        The fields of verdicts.json that follow from models.
    """
    models = find_models(case, case.suspects, evidence.probes.content_hash, "suspects")
    if not models:
        raise ModelError("[[suspects]] must hold at least one model, got none")
    prints, failed = _outputs_of(case, folder, evidence, models, progress)
    weights, claims = compare_files(case, evidence.source[0], models)
    warnings, family = list(evidence.warnings), evidence.family
    summaries: dict[str, dict[str, Any]] = {}
    tests: list[dict[str, Any]] = []
    later: list[dict[str, Any]] = []
    asked = [model for model in models if model.spec.asked]
    if asked:
        with QueryLedger(case.ledger(folder)) as queries:
            warnings += _spent(queries, evidence, committed)
            services = Services(case, evidence.probes, asked, queries, secrets, progress)
            if family.together:
                order = query_order([evidence.source[1], *evidence.siblings])
                prints |= services.ask(sorted(order[: family.looks.queries[-1]].tolist()), list(services.boxes))
            else:
                later = _ask(case, evidence, services)
            summaries = {name: box.summary() for name, box in services.boxes.items()}
        failed |= services.failed
        prints |= services.prints
    files = {name: fp for name, fp in prints.items() if family.together or name not in summaries}
    if files:
        share = case.alpha if family.together else family.files
        tests.append(_test(case, evidence, files, share, weights, claims))
    tests += later
    warnings += [
        f"{name} was not judged, but the weights of the two files say: {result.verdict}"
        for name, result in weights.items()
        if name not in files
    ]
    said = family.describe(case.alpha)
    warnings += [] if said is None else [said]
    merged = {
        field: {name: test["verdicts"][field][name] for test in tests for name in test["suspects"]} for field in _MERGED
    }
    return {
        "models": model_rows(folder, evidence, models, prints, summaries),
        "tests": tests,
        **merged,
        "failed": {name: reason for name, reason in failed.items() if name not in merged["verdict"]},
        "warnings": warnings,
    }


def _test(
    case: Case,
    evidence: Evidence,
    suspects: Mapping[str, Fingerprint],
    alpha: float,
    weights: Mapping[str, WeightsResult],
    claims: Mapping[str, list[dict[str, str]]],
) -> dict[str, Any]:
    """Suspects whose answers are there, judged together, each on the probes that it answered."""
    settings = case.settings
    verdicts = verify_suspects(
        evidence.source[1], suspects, siblings=evidence.siblings, nulls=evidence.nulls, alpha=alpha,
        weights={name: result for name, result in weights.items() if name in suspects}, **settings,
    )  # fmt: skip
    test = describe_test(list(suspects), None, verdicts, settings, ())
    return test | {"claims": {name: found for name, found in claims.items() if name in suspects}}


def _ask(case: Case, evidence: Evidence, services: Services) -> list[dict[str, Any]]:
    settings = case.settings
    looks = judge_in_looks(
        services.ask, list(services.boxes), evidence.family.looks, source=evidence.source[1],
        siblings=evidence.siblings, nulls=evidence.nulls, alpha=evidence.family.services, **settings,
    )  # fmt: skip
    return service_tests(looks, settings)


def _spent(queries: QueryLedger, evidence: Evidence, committed: float) -> list[str]:
    images = [image_key(image) for image in evidence.probes.images]
    spent = queries.spent(images, before=committed, without=evidence.service_keys)
    if not spent:
        return []
    known = f"{spent} of the probes were sent to a service before this protocol was committed to"
    return [f"{known}: whoever runs it may know them"]


def _outputs_of(
    case: Case, folder: CaseFolder, evidence: Evidence, models: Sequence[Found], progress: bool
) -> tuple[dict[str, Fingerprint], dict[str, str]]:
    """Fingerprints of the suspects that no query is sent to, and what failed."""
    found, failed = run_files(case, folder, evidence.probes, {"suspects": models}, progress=progress)
    prints = {name: fp for (_, name), fp in found.items()}
    for model in models:
        if model.fingerprint is not None:
            prints[model.name] = rename(model.fingerprint, model)
        elif model.spec.answers is not None:
            prints[model.name] = read_answers(case, evidence.probes, model)
    return prints, failed
