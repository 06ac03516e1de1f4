"""What the L1 sweeps on a CUDA device share: the device's attributes, and rows as the kernels take them."""

from __future__ import annotations

import torch
from torch import Tensor

# The device's memory over this is what the vectors may take
MEMORY_SHARE = 4


def memory_of(device: torch.device) -> int:
    """Bytes of the device's memory."""
    return int(torch.cuda.get_device_properties(device).total_memory)


def multiprocessors(device: torch.device) -> int:
    """Number of multiprocessors of the device."""
    return int(torch.cuda.get_device_properties(device).multi_processor_count)


def kernel_rows(rows: Tensor) -> tuple[int, int, int]:
    """Address, number and pitch of padded rows."""
    return rows.data_ptr(), rows.shape[0], rows.shape[1] * rows.element_size()


def kernel_dtype(rows: Tensor) -> str:
    """The form's name as the kernels know it."""
    return str(rows.dtype).removeprefix("torch.")
