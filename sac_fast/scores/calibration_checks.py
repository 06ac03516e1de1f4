"""Checks of what a calibration file claims: each returns the value, or raises a ValueError or TypeError.

And of the models that it is made of.
"""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import FingerprintError
from ..fingerprint import Fingerprint
from .weights import Floats

HASH = re.compile(r"sha256:[0-9a-f]{64}")


def check_strings(value: Any, maximum: int) -> list[str]:
    if not isinstance(value, list) or len(value) > maximum or not all(isinstance(item, str) for item in value):
        raise ValueError(f"expected a list of at maximum {maximum} names")
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
    if not isinstance(value, str) or not HASH.fullmatch(value):
        raise ValueError(f'expected "sha256:" and 64 digits, got {value!r}')
    return value


def check_distance(value: Any) -> float:
    if type(value) not in (int, float) or not 0 <= value < math.inf:
        raise ValueError(f"distances must be finite and not negative, got {value!r}")
    return float(value)


def check_outputs(array: Any, rows: int | None = None) -> Tensor:
    outputs = torch.from_numpy(array.copy())
    # the same checks as of a fingerprint's outputs
    Fingerprint(outputs, {"name": "", "probe_hash": "sha256:" + "0" * 64, "model_hash": None})
    if rows is not None and len(outputs) != rows:
        raise ValueError(f"outputs must have {rows} rows like the source's, got {len(outputs)}")
    return outputs


def check_labels(array: Any, rows: int) -> Tensor:
    if array.dtype != np.int64 or array.shape != (rows,) or array.min() < 0:
        raise ValueError(f"labels must be {rows} numbers of at least 0 (int64), got {array.dtype} {array.shape}")
    return torch.from_numpy(array.copy())


def check_unused(known: dict[str, str], model_hash: str | None, place: str) -> None:
    """Remember in `known` whose weights these are; raise a FingerprintError where they are another's already.

    A model that counts twice, or as two things, makes a score or a pool of nulls that claims more than it saw. What has
    no hash cannot be told apart.
    """
    if model_hash is not None and known.setdefault(model_hash, place) != place:
        raise FingerprintError(
            f"source, cohort, thefts and nulls must all be different models, got {known[model_hash]} and {place} "
            "with the same weights"
        )
