"""What a calibration file holds. Files of the first form have distances of nulls in place of stolen models."""

from __future__ import annotations

import itertools
from typing import Any

from torch import Tensor

from ..models.kinds import KINDS
from ..ops.arguments import check_choice
from . import calibration_checks as checks
from .statistic import CohortStatistic
from .weights import Weights

_MAX_MODELS, _MAX_STATISTICS = 1000, 100


def pack_calibration(fields: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Arrays and metadata of a calibration, from the fields of `Calibration`."""
    names = list(next(iter(fields["cohort"].values())))
    stolen = list(fields["origins"])
    arrays = {f"{probes}/source": o.numpy() for probes, o in fields["source"].items()}
    arrays |= {f"{p}/{i}": of[name].numpy() for p, of in fields["cohort"].items() for i, name in enumerate(names)}
    arrays |= {f"{p}/s{i}": of[name].numpy() for p, of in fields["thefts"].items() for i, name in enumerate(stolen)}
    arrays |= {f"{probes}/labels": truth.numpy() for probes, truth in fields["labels"].items()}
    weights = fields["weights"]
    metadata = {
        "statistics": [statistic.name for statistic in fields["statistics"]],
        "means": weights.means.tolist(),
        "deviations": weights.deviations.tolist(),
        "weights": weights.weights.tolist(),
        "intercept": weights.intercept,
        "cohort": names,
        "thefts": stolen,
        **{
            name: fields[name]
            for name in (
                *("probe_hashes", "source_hash", "used_hashes", "null", "null_hashes", "attacks"),
                *("origins", "kinds", "regularisation"),
            )
        },
    }
    return arrays, metadata


def unpack_calibration(arrays: dict[str, Any], metadata: dict[str, Any]) -> dict[str, Any]:
    """The fields of `Calibration` from a file's contents, checked.

    Raises:
        KeyError, TypeError, ValueError: something is missing or of another form.
    """
    statistics = tuple(map(CohortStatistic.parse, checks.check_strings(metadata["statistics"], _MAX_STATISTICS)))
    d = len(statistics)
    means, deviations, weights = (checks.check_numbers(metadata[key], d) for key in ("means", "deviations", "weights"))
    if not d or (deviations <= 0).any() or (weights < 0).any():
        raise ValueError("weights must be at least 0 and deviations above 0")
    cohort = _names(metadata["cohort"])
    if len(cohort) < 3:
        raise ValueError(f"cohort must be at least 3 different models, got {len(cohort)}")
    stolen = _names(metadata.get("thefts", []))
    origins = checks.check_mapping(metadata.get("origins", {}), str)
    if set(origins) != set(stolen):
        raise ValueError("origins must be of the stolen models")
    kinds = checks.check_mapping(metadata.get("kinds", {}), lambda kind: check_choice("kind", kind, KINDS))
    if not set(kinds) <= set(cohort):
        raise ValueError("kinds must be of the cohort")
    hashes = checks.check_mapping(metadata["probe_hashes"], checks.check_hash)
    if set(hashes) != {statistic.probes for statistic in statistics}:
        raise ValueError(f"probe_hashes must be of the statistics' probe sets, got {sorted(hashes)}")
    source = {probes: checks.check_outputs(arrays.pop(f"{probes}/source")) for probes in hashes}
    of_cohort = _outputs(arrays, source, cohort, "")
    of_stolen = _outputs(arrays, source, stolen, "s") if stolen else {}
    by_class = dict.fromkeys(s.probes for s in statistics if s.by_class)
    labels = {probes: checks.check_labels(arrays.pop(f"{probes}/labels"), len(source[probes])) for probes in by_class}
    if arrays:
        raise ValueError(f"other arrays {sorted(arrays)[:3]}")
    source_hash = metadata["source_hash"]
    intercept, regularisation = checks.check_numbers([metadata["intercept"], metadata.get("regularisation", 0.0)], 2)
    if stolen and regularisation <= 0:
        raise ValueError(f"regularisation must be above 0, got {regularisation}")
    return {
        "statistics": statistics,
        "weights": Weights(means, deviations, weights, float(intercept)),
        "probe_hashes": hashes,
        "source": source,
        "cohort": of_cohort,
        "labels": labels,
        "source_hash": None if source_hash is None else checks.check_hash(source_hash),
        "used_hashes": checks.check_hash_keys(metadata["used_hashes"]),
        "null": checks.check_mapping(metadata["null"], checks.check_distance),
        "null_hashes": checks.check_hash_keys(metadata["null_hashes"]),
        "attacks": checks.check_mapping(metadata["attacks"], int),
        "thefts": of_stolen,
        "origins": {name: origins[name] for name in stolen},
        "kinds": kinds,
        "regularisation": float(regularisation),
    }


def _names(value: Any) -> list[str]:
    names = checks.check_strings(value, _MAX_MODELS)
    if len(set(names)) != len(names):
        raise ValueError(f"cohort must be at least 3 different models, and so must the stolen, got {names[:3]}")
    return names


def _outputs(
    arrays: dict[str, Any], source: dict[str, Tensor], names: list[str], prefix: str
) -> dict[str, dict[str, Tensor]]:
    found: dict[str, dict[str, Tensor]] = {probes: {} for probes in source}
    for probes, (i, name) in itertools.product(source, enumerate(names)):
        found[probes][name] = checks.check_outputs(arrays.pop(f"{probes}/{prefix}{i}"), len(source[probes]))
    return found
