"""Weights of source and suspects, compared beside the verdicts, and what the files claim of each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..errors import FileFormatError, ModelError
from ..formats.weights import open_weights
from ..verify.claims import compare_claims
from ..verify.weights import WeightsResult, weights_test
from .case import Case
from .gather import Found

Claims = dict[str, list[dict[str, str]]]


def compare_files(case: Case, source: Found, suspects: Sequence[Found]) -> tuple[dict[str, WeightsResult], Claims]:
    """Compare the source's weights with those of each suspect that is a file of weights.

    Args:
        case: the case.
        source, suspects: as they were found.

    Returns:
        By suspect: the test's result, and its claims about its origin with what the weights say of them. A file that
        holds no weights, such as recorded outputs, is left out.
    """
    own = None if source.file is None or not case.weights else _claims_in(source.file)
    if own is None or source.file is None:
        return {}, {}
    ancestor = None if case.ancestor is None else case.path(case.ancestor)
    results: dict[str, WeightsResult] = {}
    claims: Claims = {}
    for model in suspects:
        theirs = None if model.file is None else _claims_in(model.file)
        if theirs is None or model.file is None:
            continue
        result = weights_test(source.file, model.file, ancestor=ancestor)
        results[model.name] = result
        claims[model.name] = [asdict(claim) for claim in compare_claims(result, own, theirs)]
    return results, claims


def _claims_in(file: Path) -> Mapping[str, Any] | None:
    """What a file of weights claims; None where it holds no weights."""
    try:
        with open_weights(file) as opened:
            return dict(opened.claims)
    except (FileFormatError, ModelError):
        return None
