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
from ..verify.stages import judge_in_looks, restrict_fingerprint
from .case import Case
from .evidence import Evidence
from .gather import Found, find_models
from .outputs import Services, read_answers, rename, run_files
from .results import describe_test, model_rows, service_tests

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
    tests = [_test(case, evidence, rows, {name: prints[name] for name in names}) for rows, names in _by_rows(prints)]
    warnings, summaries = list(evidence.warnings), {}
    asked = [model for model in models if model.spec.asked]
    if asked:
        ledger = folder.ledger if case.queries.ledger is None else case.path(case.queries.ledger)
        with QueryLedger(ledger) as queries:
            warnings += _spent(queries, evidence, committed)
            services = Services(case, evidence.probes, asked, queries, secrets, progress)
            tests += _ask(case, evidence, services)
            summaries = {name: box.summary() for name, box in services.boxes.items()}
        failed |= services.failed
        prints |= services.prints
    if len(tests) > 1:
        warnings.append(f"α = {case.alpha:g} bounds the false accusations of each of {len(tests)} tests by itself")
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
    case: Case, evidence: Evidence, rows: tuple[int, ...] | None, suspects: Mapping[str, Fingerprint]
) -> dict[str, Any]:
    """Suspects that answered the same probes, judged together."""

    def on(fp: Fingerprint) -> Fingerprint:
        return fp if rows is None else restrict_fingerprint(fp, rows)

    siblings, nulls = ([on(fp) for fp in some] for some in (evidence.siblings, evidence.nulls))
    ours, settings = on(evidence.source[1]), case.settings
    verdicts = verify_suspects(ours, suspects, siblings=siblings, nulls=nulls, alpha=case.alpha, **settings)
    return describe_test(list(suspects), rows, verdicts, settings, ())


def _ask(case: Case, evidence: Evidence, services: Services) -> list[dict[str, Any]]:
    settings = case.settings
    looks = judge_in_looks(
        services.ask, list(services.boxes), evidence.looks, source=evidence.source[1], siblings=evidence.siblings,
        nulls=evidence.nulls, alpha=case.alpha, **settings,
    )  # fmt: skip
    return service_tests(looks, settings)


def _spent(queries: QueryLedger, evidence: Evidence, committed: float) -> list[str]:
    spent = queries.spent([image_key(image) for image in evidence.probes.images], before=committed)
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


def _by_rows(prints: Mapping[str, Fingerprint]) -> list[tuple[tuple[int, ...] | None, list[str]]]:
    """Names of suspects by the probes that they answered; None: all."""
    groups: dict[tuple[int, ...] | None, list[str]] = {}
    for name, fp in prints.items():
        rows = fp.provenance.get("probe_rows")
        groups.setdefault(None if rows is None else tuple(rows), []).append(name)
    return list(groups.items())
