"""Where the ops meet `torch.library` and the compiled module: registration, choice of the backend, pointers."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

import torch
from torch import Tensor

from .. import _backend
from ..errors import BackendError
from ..io.choices import VectorMetric
from ..io.exit_gate import gated
from . import reference
from .arguments import BACKENDS, check_choice, finite_rows, result_dtype
from .table import OPS, Op

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")
View = tuple[int, str, int, int, int, int]

# Not `custom_op`: its wrapper costs 10 µs a call, as much as a small distance.
_library = torch.library.Library("sac_fast", "DEF")  # type: ignore[no-untyped-call]


def register(
    op: str, schema: str | None = None, *, check: Callable[..., None], fake: Callable[..., Result], **backends: Any
) -> Callable[..., Result]:
    """Register an op of the table with `torch.library`, for all devices.

    Args:
        op: name in the table.
        schema: which of its schemas; None: that of the op's name.
        check: raises for arguments that do not fit; values that only the kernel sees are the implementation's.
        fake: results of tensors without data: shape and dtype alone.
        backends: an implementation for each backend that the table names; where "reference" is left out, the table's
            definition. None of them returns its inputs.

    All take the arguments of the schema without `backend`.

    Returns:
        The registered op, which skips the choice among overloads.
    """
    row, name = OPS[op], schema or op
    signature = row.schemas[name]
    names = [argument.split()[1] for argument in _arguments(signature)]
    place = names.index("backend")
    backends.setdefault("reference", _definition(row, names[:place] + names[place + 1 :]))
    if backends.keys() != row.backends.keys():
        raise TypeError(f"{op} must implement {', '.join(row.backends)} as the table says, got {', '.join(backends)}")

    def kernel(*arguments: Any) -> Any:
        rest = arguments[:place] + arguments[place + 1 :]
        check(*rest)
        return backends[choose_backend(row, arguments[place], _device(rest[0]))](*rest)

    def fake_kernel(*arguments: Any) -> Any:
        rest = arguments[:place] + arguments[place + 1 :]
        check(*rest)
        check_backend(row, arguments[place], _device(rest[0]))
        return fake(*rest)

    _library.define(name + signature, tags=(torch.Tag.pt2_compliant_tag,))  # type: ignore[no-untyped-call]
    _library.impl(name, kernel, "CompositeExplicitAutograd")  # type: ignore[no-untyped-call]
    torch.library.register_fake(f"sac_fast::{name}", fake_kernel, lib=_library)
    overload: Callable[..., Result] = getattr(torch.ops.sac_fast, name).default
    return overload


def held(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """A public op that the interpreter's end waits for, as a whole.

    Around the kernel are functions of torch, which takes its ops away while the interpreter ends.
    """
    outside_of_the_end = gated(function)

    @functools.wraps(function)
    def call(*arguments: Arguments.args, **named: Arguments.kwargs) -> Result:
        compiles = torch.compiler.is_compiling()
        return function(*arguments, **named) if compiles else outside_of_the_end(*arguments, **named)

    return call


def register_gradient(name: str, gradient: Callable[..., tuple[Tensor, Tensor]], check: Callable[..., None]) -> None:
    """Register the derivative of an op in its first two tensors, a and b, with `torch.library`.

    Args:
        name: of the registered op.
        gradient: the registered op that gives it: (grad, arguments …, wants_a, wants_b, backend) -> gradients.
        check: raises for arguments that have no derivative, which are not a and b; called where one is recorded.
    """
    names = [argument.split()[1] for argument in _arguments(OPS[name].schemas[name])]
    place = names.index("backend")

    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        check(*inputs[:place])
        tensors = [value for value in inputs if isinstance(value, Tensor)]
        ctx.save_for_backward(*tensors)
        ctx.options = inputs[len(tensors) : place + 1]

    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
        *options, backend = ctx.options
        wants = ctx.needs_input_grad[:2]
        found = gradient(grad, *ctx.saved_tensors, *options, *wants, backend)
        wanted = [each if wants[i] else None for i, each in enumerate(found)]
        return (*wanted, *[None] * (len(names) - 2))

    torch.library.register_autograd(f"sac_fast::{name}", backward, setup_context=setup_context, lib=_library)


def _arguments(signature: str) -> list[str]:
    return signature.partition("(")[2].partition(")")[0].split(",")


def _definition(op: Op, names: list[str]) -> Callable[..., Any]:
    """The op's definition, called with the arguments of the schema that it takes: not with a kernel's precision."""
    taken = inspect.signature(op.definition).parameters
    return lambda *arguments: op.definition(
        **{name: value for name, value in zip(names, arguments, strict=False) if name in taken}
    )


def _device(argument: Tensor | list[Tensor]) -> torch.device:
    return argument.device if isinstance(argument, Tensor) else argument[0].device


def check_backend(op: Op, backend: str, device: torch.device) -> None:
    """Raise if `backend` is no backend, not one of the op, or not one for tensors on `device`."""
    check_choice("backend", backend, BACKENDS)
    if backend in ("auto", "reference"):
        return
    support = op.backends.get(backend)
    if backend != device.type:
        from_host = support is not None and support.takes_host_tensors and device.type == "cpu"
        if not (from_host and torch.cuda.is_available()):
            raise BackendError(f"backend {backend!r} needs tensors on a {backend} device, got {device}")
    if support is None:
        there = ", ".join(("auto", *op.backends))
        raise BackendError(f"backend of {op.name} must be one of {there}, got {backend!r}")


def choose_backend(op: Op, backend: str, device: torch.device) -> str:
    """The backend that runs: the one asked for, or for "auto" the device's, if it is there, else the definition.

    "auto" takes a CUDA kernel only if a GPU has run it.
    """
    if backend != "auto":
        check_backend(op, backend, device)
        return backend
    support = op.backends.get(device.type)
    if support is None:
        return "reference"
    if device.type == "cuda":
        return "cuda" if support.ran_on_gpu and _backend.cuda_architectures() else "reference"
    return "cpu" if _backend.is_compiled() or not support.compiled else "reference"


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


def ranked_pair(a: Tensor, b: Tensor, metric: str) -> tuple[str, Tensor, Tensor]:
    """The metric and the outputs that stand for these: "spearman" is "pearson" of ranks."""
    return (metric, a, b) if metric != "spearman" else ("pearson", ranked("a", a), ranked("b", b))


def ranked_models(name: str, models: list[Tensor], metric: str) -> tuple[VectorMetric, list[Tensor]]:
    """The metric and the models that stand for these, likewise."""
    if metric != "spearman":
        return cast(VectorMetric, metric), models
    return "pearson", [ranked(f"{name}[{i}]", model) for i, model in enumerate(models)]


def gradient_buffers(a: Tensor, b: Tensor, wants_a: bool, wants_b: bool) -> tuple[Tensor, Tensor]:
    """float64 memory for the gradients of a and b; none, at the null pointer, for one that nobody wants."""
    first, second = (
        torch.empty(x.shape if wants else (0,), dtype=torch.float64) for x, wants in ((a, wants_a), (b, wants_b))
    )
    return first, second


def in_dtypes(grad_a: Tensor, grad_b: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients from `gradient_buffers` in the dtypes of a and b.

    By NumPy where it knows the dtype: torch's threads would spin for milliseconds after the conversion, on cores that
    the next call needs.
    """
    first, second = (
        grad.to(x.dtype)
        if x.dtype == torch.bfloat16
        else torch.from_numpy(grad.numpy().astype(str(x.dtype).removeprefix("torch."), copy=False))
        for grad, x in ((grad_a, a), (grad_b, b))
    )
    return first, second


def fake_gradients(a: Tensor, b: Tensor, wants_a: bool, wants_b: bool) -> tuple[Tensor, Tensor]:
    """Gradients in a and b without data; none where they are not wanted."""
    return a.new_empty(a.shape if wants_a else (0,)), b.new_empty(b.shape if wants_b else (0,))


def wanted_gradients(
    found: tuple[Tensor, Tensor], a: Tensor, b: Tensor, wants_a: bool, wants_b: bool
) -> tuple[Tensor, Tensor]:
    """Gradients in the dtypes of a and b; empty ones in place of those that nobody wants."""
    first, second = (
        grad.to(x.dtype) if wants else x.new_empty(0)
        for grad, x, wants in zip(found, (a, b), (wants_a, wants_b), strict=True)
    )
    return first, second
