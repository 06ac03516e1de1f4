"""Whole numbers of four bits, two a byte."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt


def unpack_nibbles(packed: npt.NDArray[np.uint8], dtype: str, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """The values of ``"int4"`` or ``"uint4"`` as int8 or uint8; the lower half of a byte comes first."""
    values = np.stack([packed & 15, packed >> 4], 1).reshape(-1)[: math.prod(shape)].reshape(shape)
    if dtype == "int4":
        return ((values.astype(np.int8) ^ 8) - 8).astype(np.int8)  # the fourth bit is the sign
    return values
