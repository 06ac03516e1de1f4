"""The methods under evaluation: presets, scores by name, and peers whose distances are read from a file."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import FileFormatError
from ..io.files import StrPath, open_regular
from ..labelled_zoo.folder import ZooMember
from ..scores import CALIBRATED, DESCRIPTIONS, FIXED, REGULARISATION, CohortFeatures, CohortStatistic, Score
from .crossfit import cross_fit
from .loaded_zoo import LoadedZoo

_MAX_BYTES = 256 << 20


@dataclass(frozen=True)
class Method:
    """Distances of one method, with their cost.

    Attributes:
        name: name in tables.
        description: short description.
        distances: by member; NaN if the method cannot compare (different numbers of outputs).
        queries: number of images sent to a suspect.
        compare_seconds: time per suspect from outputs to distance; None if unknown.
        query_seconds: time per suspect from images to outputs; None if unknown.
        source: ``"sac_fast"``, or the name of the peer.
        details: further JSON values.
        resampled: by member, (R,) distances under resamples of the probes; None without resamples.
    """

    name: str
    description: str
    distances: dict[str, float]
    queries: int
    compare_seconds: float | None = None
    query_seconds: float | None = None
    source: str = "sac_fast"
    details: Mapping[str, Any] = field(default_factory=dict)
    resampled: Mapping[str, NDArray[np.float64]] | None = None

    @property
    def seconds(self) -> float | None:
        """Time per suspect from images to distance."""
        known = [s for s in (self.compare_seconds, self.query_seconds) if s is not None]
        return sum(known) if known else None


def check_probe_set(loaded: LoadedZoo, score: Score) -> None:
    """Raise a ValueError if the zoo does not have the probe set of the score."""
    if score.probes not in loaded.outputs:
        raise ValueError(f"score {score.name!r} needs a probe set of {', '.join(loaded.outputs)}")


def score_method(loaded: LoadedZoo, score: Score, name: str | None = None) -> Method:
    """Evaluate a fixed score on the whole zoo.

    Args:
        loaded: the zoo.
        score: the score.
        name: name in tables. Default: the name of the score.

    Raises:
        ValueError: a probe set or labels that the zoo does not have, or outputs of the wrong shape.
    """
    check_probe_set(loaded, score)
    outputs = loaded.outputs[score.probes]
    suspects = loaded.suspects
    start = time.perf_counter()
    found = score.distances(outputs[loaded.source], [outputs[m.name] for m in suspects], loaded.labels[score.probes])
    seconds = (time.perf_counter() - start) / len(suspects)
    distances = {m.name: float(d) for m, d in zip(suspects, found, strict=True)}
    description = DESCRIPTIONS.get(name or "", score.name)
    queries = loaded.count(score.probes, score.count)
    return Method(name or score.name, description, distances, queries, seconds, details={"score": score.name})


def calibrated_method(
    loaded: LoadedZoo,
    statistics: Sequence[CohortStatistic] = CALIBRATED,
    *,
    regularisation: float = REGULARISATION,
    name: str = "calibrated",
) -> Method:
    """Evaluate the calibrated score on the whole zoo by cross-fitting (`cross_fit`).

    Raises:
        ValueError: a probe set that the zoo does not have, or too few models for the folds.
    """
    fitted = cross_fit(loaded, statistics, regularisation=regularisation)
    # Timed as in `Calibration.distances`, with all independents as cohort and a batch of 32 suspects.
    some = [m.name for m in loaded.stolen[:32]]
    names = [loaded.source, *some, *(m.name for m in loaded.independents)]
    start = time.perf_counter()
    CohortFeatures(loaded.outputs, names, statistics, loaded.labels).compute(names[0], some, names[1 + len(some) :])
    seconds = (time.perf_counter() - start) / len(some)
    sizes = {
        s.probes: max(loaded.count(t.probes, t.count) for t in statistics if t.probes == s.probes) for s in statistics
    }
    details = {
        "statistics": [s.name for s in statistics],
        "regularisation": regularisation,
        "weights": fitted.weights,
        "notes": list(fitted.notes),
        "protocol": "leave one attack and one architecture out (of the source's own architecture: seeds)",
    }
    return Method(name, DESCRIPTIONS["calibrated"], fitted.distances, sum(sizes.values()), seconds, details=details)


def preset_method(loaded: LoadedZoo, preset: str) -> Method:
    """Evaluate a preset on the whole zoo."""
    return calibrated_method(loaded) if preset == "calibrated" else score_method(loaded, FIXED[preset], preset)


def read_peers(path: StrPath, suspects: Sequence[ZooMember]) -> list[Method]:
    """Read the methods of peers from the JSON of `benchmarks/bench_baselines.py` on the same zoo.

    Args:
        path: the file.
        suspects: the members whose distances are read.

    Returns:
        The methods, one for each number of queries.

    Raises:
        FileFormatError: not such a file, or a file of another zoo.
    """
    with open_regular(path) as handle:
        text = handle.read(_MAX_BYTES + 1)
    try:
        if len(text) > _MAX_BYTES:
            raise ValueError(f"more than {_MAX_BYTES:,} bytes")
        read = json.loads(text)
        if read["kind"] != "sac_fast baselines":
            raise ValueError(f"kind {read['kind']!r}")
        peers = []
        for result in read["results"]:
            scores = {m.name: _score(result["scores"][m.name]) for m in suspects}
            peers.append(
                Method(
                    f"{result['title']}, {int(result['queries'])} queries",
                    str(result["paper"]),
                    scores,
                    int(result["queries"]),
                    _seconds(result["median_suspect_seconds"]),
                    source=str(result["method"]),
                    details={"prepare_seconds": _seconds(result["prepare_seconds"])},
                )
            )
        return peers
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        raise FileFormatError(
            f"{str(path)!r} must hold the results of bench_baselines on this zoo, got {type(error).__name__}: {error}"
        ) from error


def _score(value: Any) -> float:
    if value is None:
        return math.nan
    if type(value) not in (int, float) or not math.isfinite(value):
        raise ValueError(f"scores must be finite numbers or null, got {value!r}")
    return float(value)


def _seconds(value: Any) -> float:
    if type(value) not in (int, float) or not 0 <= value < math.inf:
        raise ValueError(f"seconds must be finite and not negative, got {value!r}")
    return float(value)
