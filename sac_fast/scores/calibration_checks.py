"""Checks of the contents of a calibration file and of the models it is made from.

Each check of a file's value returns the value, or raises a ValueError or TypeError.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import FingerprintError
from ..fingerprint import Fingerprint
from ..io.hashing import is_hash
from .weights import Floats


def check_strings(value: Any, maximum: int) -> list[str]:
    if not isinstance(value, list) or len(value) > maximum or not all(isinstance(item, str) for item in value):
        raise ValueError(f"expected a list of at most {maximum} names")
    return value


def check_numbers(value: Any, count: int) -> Floats:
    if not isinstance(value, list) or len(value) != count or not all(type(x) in (int, float) for x in value):
        raise ValueError(f"expected {count} numbers")
    numbers = np.array(value, dtype=np.float64)
    if not np.isfinite(numbers).all():
        raise ValueError("numbers must be finite")
    return numbers


def check_mapping(value: Any, of: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError(f"expected an object, got {type(value).__name__}")
    return {str(key): of(item) for key, item in value.items()}


def check_hash_keys(value: Any) -> dict[str, str]:
    return {check_hash(key): name for key, name in check_mapping(value, str).items()}


def check_hash(value: Any) -> str:
    if not is_hash(value):
        raise ValueError(f'expected "sha256:" and 64 digits, got {value!r}')
    return value


def check_distance(value: Any) -> float:
    if type(value) not in (int, float) or not 0 <= value < math.inf:
        raise ValueError(f"distances must be finite and not negative, got {value!r}")
    return float(value)


def check_outputs(array: Any, rows: int | None = None) -> Tensor:
    outputs = torch.from_numpy(array.copy())
    # The constructor has the checks.
    Fingerprint(outputs, {"name": "", "probe_hash": "sha256:" + "0" * 64, "model_hash": None})
    if rows is not None and len(outputs) != rows:
        raise ValueError(f"outputs must have {rows} rows like the source's, got {len(outputs)}")
    return outputs


def check_labels(array: Any, rows: int) -> Tensor:
    if array.dtype != np.int64 or array.shape != (rows,) or array.min() < 0:
        raise ValueError(f"labels must be {rows} numbers of at least 0 (int64), got {array.dtype} {array.shape}")
    return torch.from_numpy(array.copy())


def check_unused(known: dict[str, str], model_hash: str | None, place: str) -> None:
    """Record the owner of these weights in `known`; raise a FingerprintError if they have another owner.

    A model that is used twice, or in two roles, would make the score or the null pool overconfident. Models without a
    hash cannot be checked.
    """
    if model_hash is not None and known.setdefault(model_hash, place) != place:
        raise FingerprintError(
            f"source, cohort, thefts and nulls must all be different models, got {known[model_hash]} and {place} "
            "with the same weights"
        )


def check_probes(name: str, fp: Fingerprint, probe_hash: str) -> None:
    """Raise a FingerprintError if a fingerprint is of another probe set."""
    if fp.probe_hash != probe_hash:
        raise FingerprintError(f"outputs of {name!r} must be on the probes {probe_hash}, got {fp.probe_hash}")
