"""IDX files, the format of MNIST and of data sets made like it: bytes in a few dimensions, plain or gzip-compressed.

    0, 0, type, number of dimensions | one big-endian uint32 a dimension | the values, last dimension fastest

Source: LeCun, Cortes, Burges, *The MNIST database of handwritten digits*.
"""

from __future__ import annotations

import math
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import FileFormatError
from ..io.files import StrPath, read_regular

MAX_FILE_BYTES = 1 << 30
MAX_VALUES = 1 << 30
_UNSIGNED_BYTE = 8
_GZIP = b"\x1f\x8b"


def read_idx(path: StrPath, dimensions: int) -> NDArray[np.uint8]:
    """Read an IDX file of unsigned bytes.

    Args:
        path: the file; gzip-compressed ones are told by their first bytes.
        dimensions: the number that the file must have: 1 for labels, 3 for images.

    Returns:
        uint8, of the shape that the file states.

    Raises:
        FileFormatError: it cannot be read, is no such file, states more than 2³⁰ values, or holds another number of
            values than it states.
    """
    name, content = repr(str(path)), read_regular(path, MAX_FILE_BYTES, "as an IDX file")
    if not content.startswith(_GZIP):
        shape = _shape(content[: 4 + 4 * dimensions], dimensions, name)
        return _array(content[4 + 4 * dimensions :], shape, name)
    stream = zlib.decompressobj(wbits=31)
    try:
        header = stream.decompress(content, 4 + 4 * dimensions)
        shape = _shape(header, dimensions, name)
        # One byte more than the header states: a longer stream is told without being unpacked.
        values = stream.decompress(stream.unconsumed_tail, math.prod(shape) + 1)
    except zlib.error as error:
        raise FileFormatError(f"{name} must be sound gzip, got {error}") from error
    array = _array(values, shape, name)
    if not stream.eof or stream.unused_data:
        raise FileFormatError(f"{name} must be one whole gzip stream, got {_end(stream.eof)}")
    return array


def _end(complete: bool) -> str:
    return "bytes behind it" if complete else "its end early"


def _shape(header: bytes, dimensions: int, name: str) -> tuple[int, ...]:
    expected = bytes((0, 0, _UNSIGNED_BYTE, dimensions))
    if header[:4] != expected or len(header) != 4 + 4 * dimensions:
        raise FileFormatError(
            f"{name} must be an IDX file of unsigned bytes in {dimensions} dimensions (it begins with "
            f"{expected.hex()}), got {header[:4].hex() or 'nothing'}"
        )
    shape = tuple(int.from_bytes(header[at : at + 4], "big") for at in range(4, len(header), 4))
    if not 0 < math.prod(shape) <= MAX_VALUES:
        raise FileFormatError(f"{name} must hold 1 … {MAX_VALUES:,} values, got the shape {shape}")
    return shape


def _array(values: bytes, shape: tuple[int, ...], name: str) -> NDArray[np.uint8]:
    if len(values) != math.prod(shape):
        found = f"{len(values):,}" if len(values) < math.prod(shape) else "more"
        raise FileFormatError(f"{name} must hold {math.prod(shape):,} values as its header says, got {found}")
    return np.frombuffer(values, np.uint8).reshape(shape)


def find_idx(folder: Path, stem: str) -> Path:
    """The file of this name in a folder, plain or compressed (``stem`` or ``stem.gz``).

    Raises:
        FileFormatError: there is neither.
    """
    for name in (stem, f"{stem}.gz"):
        if (folder / name).is_file():
            return folder / name
    raise FileFormatError(f"folder {str(folder)!r} must hold {stem} or {stem}.gz", reason="missing")
