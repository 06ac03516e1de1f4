"""Where tensors meet the compiled module: the ops of this package call it, nothing else does."""

from __future__ import annotations

import torch
from torch import Tensor

from .. import _backend, reference
from ..arguments import BACKENDS, finite_rows, one_of, result_dtype
from ..errors import BackendError

View = tuple[int, str, int, int, int, int]


def check_backend(backend: str, device: torch.device) -> None:
    """Raise if `backend` is no backend, or not one for tensors on `device`."""
    one_of("backend", backend, BACKENDS)
    if backend in ("cpu", "cuda") and backend != device.type:
        raise BackendError(f"backend {backend!r} needs tensors on a {backend} device, got {device}")


def takes_cpu(backend: str, device: torch.device) -> bool:
    """True if the compiled CPU kernels are to run: by name, or by "auto" where they are there."""
    return backend == "cpu" or (backend == "auto" and device.type == "cpu" and _backend.is_compiled())


def view(x: Tensor) -> View:
    """Pointer, dtype, shape and strides of an (n, k) tensor, which the caller keeps alive."""
    return (x.data_ptr(), str(x.dtype).removeprefix("torch."), x.shape[0], x.shape[1], x.stride(0), x.stride(1))


def cpu_arguments() -> tuple[int, str]:
    """Threads and instruction set, as every CPU kernel takes them."""
    return _backend.cpu_threads(), _backend.cpu_instruction_set()


def ranked(name: str, x: Tensor) -> Tensor:
    """The ranks of each row, whose pearson correlation is spearman's."""
    finite_rows(name, x)
    return reference.average_ranks(x).to(result_dtype(x))
