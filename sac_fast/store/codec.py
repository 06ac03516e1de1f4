"""The bytes of a file of outputs: safetensors, one tensor "outputs" (n, k), and the result's key in the metadata.

The bytes depend on key and outputs only. The key is inside, so lost rows of the database can be restored.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

from ..io.files import STORE_OUTPUTS
from ..io.hashing import canonical_json
from .records import ResultKey

_KIND = STORE_OUTPUTS  # part of the file format
_TENSOR = "outputs"
_METADATA = "sac_fast"
_DTYPES: dict[str, np.dtype[Any]] = {"F32": np.dtype("<f4"), "F64": np.dtype("<f8")}
_MAX_HEADER_BYTES = 4 << 20


def encode(key: ResultKey, outputs: Any) -> bytes:
    """The bytes of a file.

    Args:
        key: of the result.
        outputs: float32 or float64 ``(n, k)``, finite: a tensor or an array.

    Returns:
        A safetensors file; the same bytes for the same arguments.

    Raises:
        ValueError: other outputs.
    """
    is_known = str(outputs.dtype).removeprefix("torch.") in ("float32", "float64")
    if not is_known or outputs.ndim != 2 or 0 in outputs.shape:
        raise ValueError(
            f"outputs must be float32 or float64 (n, k), n and k at least 1, got {outputs.dtype} {tuple(outputs.shape)}"
        )
    # A tensor, without importing torch.
    array = np.asarray(outputs.detach().cpu().numpy() if hasattr(outputs, "detach") else outputs, order="C")
    if not np.isfinite(array).all():
        raise ValueError("outputs must be finite, got NaN or Inf")
    # One entry of metadata, since safetensors writes several in any order.
    head = canonical_json({"format": 1, "kind": _KIND, "key": json.loads(key.json)})
    return safetensors.numpy.save({_TENSOR: array}, {_METADATA: head})


def decode(data: bytes | memoryview) -> tuple[ResultKey, NDArray[Any]]:
    """The inverse of `encode`, for untrusted bytes.

    Args:
        data: of the file; a writable view of memory, or bytes.

    Returns:
        The key and the array, which shares memory with a view.

    Raises:
        ValueError: anything else.
    """
    total = len(data)
    length = int.from_bytes(data[:8], "little")
    if total < 8 or not 2 <= length <= min(total - 8, _MAX_HEADER_BYTES):
        raise ValueError(f"header claims {length:,} bytes of a file of {total:,}")
    try:
        table = json.loads(bytes(data[8 : 8 + length]))
        head = json.loads(table["__metadata__"][_METADATA])
        entry = table[_TENSOR]
        if set(table) != {"__metadata__", _TENSOR} or head["kind"] != _KIND or head["format"] != 1:
            raise ValueError("it is of another kind")
        key = ResultKey.from_json(canonical_json(head["key"]))
        dtype, (n, k) = _DTYPES[entry["dtype"]], entry["shape"]
        begin, end = entry["data_offsets"]
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise ValueError(f"header is not that of a file of outputs ({type(error).__name__}: {error})") from error
    if not all(type(size) is int and size > 0 for size in (n, k)) or (begin, end) != (0, n * k * dtype.itemsize):
        raise ValueError(f"shape {(n, k)} and offsets {(begin, end)} do not fit each other")
    if end != total - 8 - length:
        raise ValueError(f"it must hold {end:,} bytes of data, got {total - 8 - length:,}")
    buffer = data if isinstance(data, memoryview) else bytearray(data)
    return key, np.frombuffer(buffer, dtype, n * k, 8 + length).reshape(n, k)
