"""The dtypes of arrays in files: their names in PyTorch and NumPy, in safetensors, and of `torch.save`'s storages."""

from __future__ import annotations

import re
from typing import NamedTuple


class StoredDtype(NamedTuple):
    """One row: ``name`` in PyTorch (and NumPy, where NumPy has it); None where a format has no such dtype."""

    name: str
    safetensors: str | None
    storage: str | None

    @property
    def item_bytes(self) -> int:
        """Bytes of one value, which its name says in bits."""
        bits = re.search("[0-9]+", self.name)
        return 1 if bits is None else int(bits[0]) // 8


STORED_DTYPES = (
    StoredDtype("float64", "F64", "DoubleStorage"),
    StoredDtype("float32", "F32", "FloatStorage"),
    StoredDtype("float16", "F16", "HalfStorage"),
    StoredDtype("bfloat16", "BF16", "BFloat16Storage"),
    StoredDtype("float8_e4m3fn", "F8_E4M3", None),
    StoredDtype("float8_e5m2", "F8_E5M2", None),
    StoredDtype("float8_e4m3fnuz", "F8_E4M3FNUZ", None),
    StoredDtype("float8_e5m2fnuz", "F8_E5M2FNUZ", None),
    StoredDtype("float8_e8m0fnu", "F8_E8M0", None),
    StoredDtype("complex64", "C64", "ComplexFloatStorage"),
    StoredDtype("complex128", None, "ComplexDoubleStorage"),
    StoredDtype("int64", "I64", "LongStorage"),
    StoredDtype("int32", "I32", "IntStorage"),
    StoredDtype("int16", "I16", "ShortStorage"),
    StoredDtype("int8", "I8", "CharStorage"),
    StoredDtype("uint64", "U64", None),
    StoredDtype("uint32", "U32", None),
    StoredDtype("uint16", "U16", None),
    StoredDtype("uint8", "U8", "ByteStorage"),
    StoredDtype("bool", "BOOL", "BoolStorage"),
)
