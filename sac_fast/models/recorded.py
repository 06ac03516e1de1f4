"""Recorded outputs in our own fingerprint files."""

from __future__ import annotations

from typing import BinaryIO

import torch

from ..container import load_container
from ..errors import FileFormatError, ModelRefusedError
from .limits import Limits, refuse
from .safetensors_file import read_header

# A fingerprint's provenance has some 2 kB; what is parsed as JSON twice costs many times its own size.
_MAX_METADATA = 2 << 20


def read_fingerprint(handle: BinaryIO, name: str, limits: Limits) -> torch.Tensor:
    """The outputs of a fingerprint file, its seal checked.

    Raises:
        ModelRefusedError: damaged, or not such a file.
    """
    header = read_header(handle, name, limits)
    if header.data_start > _MAX_METADATA:
        refuse("too-large", f"{name} must be a fingerprint with a header of at most {_MAX_METADATA:,} bytes, got more")
    if set(header.tensors) != {"outputs"}:
        refuse("malformed", f"{name} must be a fingerprint with one array outputs, got {sorted(header.tensors)[:5]}")
    try:
        # The same open file by another name, so that it is not another one by now.
        arrays, _ = load_container(f"/proc/self/fd/{handle.fileno()}", "fingerprint")
    except ModelRefusedError:
        raise
    except FileFormatError as error:
        refuse("damaged", str(error).replace(f"'/proc/self/fd/{handle.fileno()}'", name), error)
    outputs = torch.from_numpy(arrays["outputs"].copy())
    if outputs.dtype not in (torch.float32, torch.float64) or outputs.ndim != 2 or 0 in outputs.shape:
        refuse("wrong-shape", f"{name} must hold float outputs (n, k), got {outputs.dtype} {tuple(outputs.shape)}")
    return outputs
