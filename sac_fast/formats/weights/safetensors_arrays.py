"""Arrays of safetensors files, read by range."""

from __future__ import annotations

import functools
import re
from typing import BinaryIO

from ..limits import Limits
from ..safetensors import read_header
from .ranges import FileRanges
from .state_dict import StoredArray

_NUMBER = re.compile("([0-9]+)")


def safetensors_arrays(handle: BinaryIO, name: str, limits: Limits) -> tuple[dict[str, StoredArray], dict[str, str]]:
    """The arrays that a safetensors file describes, and its metadata.

    Args:
        handle: the open file; it must stay open while arrays are read.
        name: what messages call it.
        limits: on header, number and sizes.

    Returns:
        Arrays, by name with numbers in their order (writers sort them as text); metadata, unchecked text.

    Raises:
        ModelRefusedError: anything that contradicts the format or exceeds a limit.
    """
    header = read_header(handle, name, limits)
    ranges = FileRanges(handle, name)
    arrays = {}
    for key in sorted(header.tensors, key=_natural):
        stored = header.tensors[key]
        read = functools.partial(ranges.array, header.data_start + stored.start, stored.dtype, stored.shape)
        arrays[key] = StoredArray(stored.dtype, stored.shape, read)
    return arrays, header.metadata


def _natural(name: str) -> list[tuple[int, str]]:
    """A key by which ``layer.2`` comes before ``layer.10``: longer digits are larger numbers."""
    parts = _NUMBER.split(name)
    return [(len(part.lstrip("0")) if index % 2 else 0, part) for index, part in enumerate(parts)]
