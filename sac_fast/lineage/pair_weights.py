"""Weights tests of the nearest pairs whose files are still there."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence

from torch import Tensor

from ..errors import SacFastError
from ..io.choices import Metric
from ..io.files import StrPath
from ..io.progress import track
from ..ops import correlation_distance
from ..store.records import FileStamp
from ..verdict import holm
from ..verify.weights import WeightsResult, weights_test
from .result import PairWeights, Relative
from .weights_result import WeightsRelatives

#: α of the weights tests, over all pairs.
ALPHA = 1e-3
#: Pairs that are tested unless more are asked for.
MAX_PAIRS = 50
NO_FILE = "no file"
_FAILURES = (SacFastError, OSError, ValueError, TypeError, RuntimeError, MemoryError)


def near_pairs(relatives: Mapping[str, Sequence[Relative]], limit: int) -> list[tuple[str, str, float]]:
    """Pairs of models and their relatives, each once: all nearest ones first, then all second nearest, …

    Outputs alone choose them, and these do not change when hidden units are permuted: the weights tests of pairs that
    are chosen so need no adjustment beyond that for their number.
    """
    found: dict[tuple[str, str], tuple[int, float]] = {}
    for name, near in relatives.items():
        for rank, relative in enumerate(near):
            pair = (name, relative.name) if name < relative.name else (relative.name, name)
            found[pair] = min(found.get(pair, (rank, relative.distance)), (rank, relative.distance))
    ordered = sorted(found, key=lambda pair: (*found[pair], pair))
    return [(*pair, found[pair][1]) for pair in ordered[:limit]]


def compare_pairs(
    pairs: Sequence[tuple[str, str, float]],
    files: Mapping[str, StrPath | FileStamp],
    *,
    alpha: float = ALPHA,
    progress: bool = False,
) -> tuple[PairWeights, ...]:
    """Weights tests of pairs, with Holm's adjustment over those that have files.

    Args:
        pairs: names of two models and the distance between their outputs.
        files: by name: the file of its weights, or its stamp when the model was asked.
        alpha: α over all pairs.
        progress: a bar on stderr.

    Returns:
        One for each pair. A file that is not there, or has changed, is ``"no file"``; a test that fails is
        *inconclusive*, for the reason that is given.
    """
    found, p_values = [], []
    for a, b, distance in track(pairs, "weights of near pairs", enabled=progress):
        missing = [f"{name}: {reason}" for name in (a, b) if (reason := why_missing(files.get(name)))]
        if missing:
            found.append(PairWeights(a, b, distance, NO_FILE, "; ".join(missing)))
            continue
        one, p = _compare(a, b, distance, files, alpha)
        found.append(one)
        p_values.append(p)
    adjusted = iter(holm(p_values).tolist() if p_values else [])
    return tuple(one if one.verdict == NO_FILE else _adjust(one, next(adjusted), alpha) for one in found)


def take_searched(
    found: WeightsRelatives, outputs: Mapping[str, Tensor], files: Mapping[str, StrPath | FileStamp], metric: Metric
) -> tuple[PairWeights, ...]:
    """What a search over all pairs of weights found, as tests of pairs.

    Args:
        found: by `weights_relatives`, whose p-values are adjusted for all pairs.
        outputs: (n, k_i) by name; pairs of other models are left out.
        files: of the weights, by name.
        metric: of the distances between outputs, see `sac_fast.correlation_distance`.

    Returns:
        The pairs that are related, smallest p first; copies with equal arrays follow as *identical*.
    """
    pairs: list[tuple[str, str, str, float | None, float | None, str | None]]
    pairs = [(one.a, one.b, one.verdict, one.p_value, one.p_holm, one.leaf) for one in found.pairs]
    for first, *copies in found.duplicates:
        pairs += [(first, copy, "identical", None, None, None) for copy in copies]
    reason = f"found among all {found.tests} pairs of weights."
    return tuple(
        PairWeights(
            a, b, float(correlation_distance(outputs[a], outputs[b], metric=metric)), verdict, reason, p, p_holm, leaf,
            _older(a, b, files),
        )
        for a, b, verdict, p, p_holm, leaf in pairs
        if a in outputs and b in outputs
    )  # fmt: skip


def _older(a: str, b: str, files: Mapping[str, StrPath | FileStamp]) -> str | None:
    stamps = {name: files.get(name) for name in (a, b)}
    times = {name: stamp.mtime_ns for name, stamp in stamps.items() if isinstance(stamp, FileStamp)}
    return min(times, key=times.__getitem__) if len(times) == 2 and len(set(times.values())) == 2 else None


def _compare(
    a: str, b: str, distance: float, files: Mapping[str, StrPath | FileStamp], alpha: float
) -> tuple[PairWeights, float]:
    stamps = {name: files[name] for name in (a, b)}
    try:
        result = weights_test(_path(stamps[a]), _path(stamps[b]), alpha=alpha)
    except _FAILURES as error:
        return PairWeights(a, b, distance, "inconclusive", f"{type(error).__name__}: {error}"[:500], 1.0), 1.0
    leaf, older = _leaf(result, a, b), _older(a, b, files)
    return PairWeights(a, b, distance, result.verdict, result.reason, result.p_value, None, leaf, older), result.p_value


def _adjust(one: PairWeights, p_holm: float, alpha: float) -> PairWeights:
    if one.verdict == "weights related" and p_holm > alpha:
        reason = f"p = {one.p_value:.3g}, but {p_holm:.3g} adjusted for all pairs (Holm)."
        return dataclasses.replace(one, verdict="inconclusive", reason=reason, p_holm=p_holm, leaf=None, older=None)
    return dataclasses.replace(one, p_holm=p_holm)


def _leaf(result: WeightsResult, a: str, b: str) -> str | None:
    """The side that lost values which the other one has; None where neither or both did, or nothing is related."""
    coarser = result.facts["coarser"]
    if result.verdict != "weights related" or bool(coarser["a"]) == bool(coarser["b"]):
        return None
    return a if coarser["a"] else b


def why_missing(file: StrPath | FileStamp | None) -> str | None:
    """Why a file of weights cannot be compared any more; None: it can."""
    if file is None:
        return "no file of weights is known"
    try:
        now = FileStamp.of(_path(file))
    except OSError as error:
        return error.strerror or str(error)
    if isinstance(file, FileStamp) and (now.size, now.mtime_ns) != (file.size, file.mtime_ns):
        return "the file has changed since the model was asked"
    return None


def _path(file: StrPath | FileStamp) -> str:
    return file.path if isinstance(file, FileStamp) else os.fspath(file)
