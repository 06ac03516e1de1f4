"""NumPy arrays inside pickles, as inert records tell them: shape, dtype and bytes, with nothing called.

Source: numpy.ndarray.__reduce_ex__ and numpy.dtype.__reduce__.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
import numpy.typing as npt

from ..json_text import is_natural
from ..limits import MAX_DIMENSIONS, Limits, refuse
from ..torch_pickle import Inert, InertObject
from .state_dict import StoredArray

_NAMES = {"_reconstruct", "_frombuffer"}
_KINDS = {"f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1"}


def is_pickled_array(found: Any) -> bool:
    """Whether a record of a pickle stands for an array."""
    return isinstance(found, Inert) and found.name in _NAMES


def pickled_array(found: InertObject, key: str, name: str, limits: Limits) -> StoredArray | None:
    """The array that a record stands for; None for one of texts or objects.

    Args:
        found: the record.
        key: the array's name.
        name: what messages call the file.
        limits: on its size.

    Raises:
        ModelRefusedError: other bytes than its shape needs.
    """
    shape, kind, columns_first, data = _parts(found)
    dtype = _dtype(kind)
    if dtype is None:
        return None
    sound = isinstance(shape, tuple) and len(shape) <= MAX_DIMENSIONS and all(map(is_natural, shape))
    raw = _bytes(data)
    if not sound or raw is None or math.prod(shape) * dtype.itemsize != len(raw):
        refuse("malformed", f"{name} must hold arrays with all their bytes, got another at {key[:80]!r}")
    limits.check_tensor(name, key, len(raw), len(raw))
    read = functools.partial(_read, raw, dtype, shape, bool(columns_first))
    return StoredArray(dtype.name, shape, read)


def _read(raw: bytes, dtype: np.dtype[Any], shape: tuple[int, ...], columns_first: bool) -> npt.NDArray[Any]:
    values = np.frombuffer(raw, dtype).astype(dtype.newbyteorder("="), copy=False)
    return values.reshape(shape[::-1]).T if columns_first else values.reshape(shape)


def _parts(found: InertObject) -> tuple[Any, Any, Any, Any]:
    """Shape, dtype, order and bytes, of the state or of the arguments."""
    if found.name == "_frombuffer" and len(found.arguments) >= 4:
        data, kind, shape, order = found.arguments[:4]
        return shape, kind, order == "F", data
    state = getattr(found, "state", None)
    if isinstance(state, tuple) and len(state) == 5:
        return state[1], state[2], state[3], state[4]
    return (), None, False, b""


def _dtype(kind: Any) -> np.dtype[Any] | None:
    """The dtype of a record ``dtype("f4")`` whose state begins with a version and the order of bytes."""
    if not isinstance(kind, InertObject) or kind.name != "dtype" or kind.arguments[:1] == ():
        return None
    code, state = kind.arguments[0], kind.state
    if not isinstance(code, str) or code not in _KINDS:
        return None
    big = isinstance(state, tuple) and len(state) > 1 and state[1] == ">"
    return np.dtype((">" if big else "<") + code)


def _bytes(data: Any) -> bytes | None:
    """The bytes of an array; protocol 2 writes them as text of the same codes."""
    if isinstance(data, Inert) and data.name == "encode" and len(data.arguments) == 2:
        text, codec = data.arguments
        if isinstance(text, str) and codec == "latin1" and (not text or ord(max(text)) < 256):
            return text.encode("latin1")
    if isinstance(data, Inert) and data.name == "bytes" and not data.arguments:
        return b""
    return bytes(data) if isinstance(data, bytes | bytearray) else None
