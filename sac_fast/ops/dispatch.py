"""Where tensors meet the compiled module: the ops of this package call it, nothing else does."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

from .. import _backend
from ..errors import BackendError
from . import reference
from .arguments import BACKENDS, check_choice, finite_rows, result_dtype

View = tuple[int, str, int, int, int, int]


Kernel = TypeVar("Kernel", bound=Callable[..., object])

# Not `custom_op`: its wrapper costs 10 µs a call, as much as a small distance.
_library = torch.library.Library("sac_fast", "DEF")  # type: ignore[no-untyped-call]


def kernel(schema: str) -> Callable[[Kernel], Kernel]:
    """Register a function as the op `sac_fast::<schema>` for all devices; it must not return its inputs."""

    def register(function: Kernel) -> Kernel:
        _library.define(schema, tags=(torch.Tag.pt2_compliant_tag,))  # type: ignore[no-untyped-call]
        _library.impl(schema.partition("(")[0], function, "CompositeExplicitAutograd")  # type: ignore[no-untyped-call]
        return function

    return register


def fake_kernel(name: str) -> Callable[[Kernel], Kernel]:
    """Register what the op `sac_fast::<name>` returns for tensors without data: shape and dtype alone."""

    def register(function: Kernel) -> Kernel:
        torch.library.register_fake(f"sac_fast::{name}", function, lib=_library)
        return function

    return register


def check_backend(backend: str, device: torch.device) -> None:
    """Raise if `backend` is no backend, or not one for tensors on `device`."""
    check_choice("backend", backend, BACKENDS)
    if backend in ("cpu", "cuda") and backend != device.type:
        raise BackendError(f"backend {backend!r} needs tensors on a {backend} device, got {device}")


def takes_cpu(backend: str, device: torch.device) -> bool:
    """True if the compiled CPU kernels are to run: by name, or by "auto" where they are there."""
    return backend == "cpu" or (backend == "auto" and device.type == "cpu" and _backend.is_compiled())


def takes_cuda(op: str, backend: str, device: torch.device) -> bool:
    """True if the CUDA kernel of `op` is to run: by name, or by "auto" where it is built and a GPU has run it."""
    if backend == "cuda":
        return True
    return backend == "auto" and device.type == "cuda" and _backend.chooses_cuda(op)


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
