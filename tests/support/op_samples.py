"""Sample and bad values of the ops' arguments, by the kind that the table names for each argument.

The uniform tests call every op with them; a new op gets them by naming its arguments' kinds.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from sac_fast.ops.arguments import BACKENDS, COMPARISONS, METRICS, PRECISIONS, VECTOR_DTYPES
from sac_fast.ops.jpeg_arguments import SUBSAMPLINGS

PROBES = 9
BAD_ROW = 3
_MODELS = 4
_IMAGES = 2

# Values of the options, the default first; an option that is left out of a sample has its default.
CHOICES: Mapping[str, tuple[Any, ...]] = {
    "metric": METRICS,
    "comparison": COMPARISONS,
    "precision": PRECISIONS,
    "sigma": (0.5**0.5, 0.3, 2.0),
    "dtype": (None, *VECTOR_DTYPES),
    "first_pass": ("none", "uint8"),
    "subsampling": tuple(reversed(SUBSAMPLINGS)),
    "backend": BACKENDS,
}


class BadValue(NamedTuple):
    """A value made of a good one, and the error that it must raise: `words` is a pattern with {name} in it."""

    make: Callable[[Any], Any]
    error: type[Exception]
    words: str


def sample(arguments: Mapping[str, str], dtype: torch.dtype, seed: int = 0) -> dict[str, Any]:
    """Good arguments of an op by name: those that have no default, tensors on the CPU.

    Args:
        arguments: kinds by name, as `Op.calls` gives them.
        dtype: of the outputs, vectors or images.
    """
    generator = torch.Generator().manual_seed(seed)
    return {name: _MAKERS[kind](dtype, generator) for name, kind in arguments.items() if kind in _MAKERS}


def _outputs(dtype: torch.dtype, generator: torch.Generator) -> Tensor:
    k = int(torch.randint(2, 8, (), generator=generator))
    return torch.randn(PROBES, k, generator=generator, dtype=torch.float64).to(dtype)


def _models(dtype: torch.dtype, generator: torch.Generator) -> list[Tensor]:
    return [_outputs(dtype, generator) for _ in range(_MODELS)]


def _vectors(dtype: torch.dtype, generator: torch.Generator) -> Tensor:
    vectors = torch.rand(_MODELS, PROBES * (PROBES - 1) // 2, generator=generator) * 2 - 1
    return ((vectors + 1) * 127.5).round().to(dtype) if dtype == torch.uint8 else vectors.to(dtype)


def _weights(_: torch.dtype, generator: torch.Generator) -> Tensor:
    return torch.randint(0, 4, (5, PROBES), generator=generator).double() + 0.25


def _images(dtype: torch.dtype, generator: torch.Generator) -> Tensor:
    return torch.randint(0, 256, (_IMAGES, 11, 13, 3), generator=generator).to(dtype)


_MAKERS: Mapping[str, Callable[[torch.dtype, torch.Generator], Any]] = {
    "outputs": _outputs,
    "differentiable": _outputs,
    "differentiable, same probes": _outputs,
    "models": _models,
    "vectors": _vectors,
    "same vectors": _vectors,
    "weights": _weights,
    "images": _images,
    "quality": lambda _, generator: torch.randint(1, 101, (_IMAGES,), generator=generator).tolist(),
    "top": lambda *_: 2,
}


def _value(value: Any) -> Callable[[Any], Any]:
    return lambda _: value


def _masked(x: Any) -> Any:
    return np.ma.masked_array(x.float().numpy() if x.is_floating_point() else x.numpy())


def _with(value: float, x: Tensor) -> Tensor:
    """`x` with a value in a place of row BAD_ROW, and of the last row."""
    changed = x.clone()
    changed[BAD_ROW, -1] = changed[-1, 0] = value
    return changed


def _of_one(change: Callable[[Any], Any], models: list[Tensor]) -> list[Any]:
    return [models[0], change(models[1]), *models[2:]]


_NOT_FINITE = [
    BadValue(functools.partial(_with, value), ValueError, f"^{{name}} must be finite, got NaN or Inf in row {BAD_ROW}$")
    for value in (float("nan"), float("inf"), -float("inf"))
]
_GRAD = BadValue(
    lambda x: x.float().requires_grad_(),
    ValueError,
    r"^{name} must not require grad .*expected {name}\.detach\(\)",
)
_OUTPUTS = [
    BadValue(lambda x: x.tolist(), TypeError, "^{name} must be a torch tensor or a NumPy array, got list"),
    BadValue(lambda x: x.long(), TypeError, "^{name} must be floating point .*got torch.int64"),
    BadValue(lambda x: x.to(torch.complex64), TypeError, "^{name} must be floating point .*got torch.complex64"),
    BadValue(lambda x: x.long().numpy(), TypeError, "^{name} must be floating point .*got int64"),
    BadValue(lambda x: x.to_sparse(), TypeError, "^{name} must be a dense tensor, got layout"),
    BadValue(_masked, TypeError, "^{name} must be a plain NumPy array, got a masked one; leave out or fill in"),
    BadValue(lambda x: x[0], ValueError, r"^{name} must have shape \(n, k\), got \("),
    BadValue(lambda x: x[:1], ValueError, "^{name} must have at least 2 rows .*got 1"),
    BadValue(lambda x: x[:, :0], ValueError, "^{name} must have at least 1 column .*got 0"),
    _GRAD,
    *_NOT_FINITE,
]
_DIFFERENTIABLE = [bad for bad in _OUTPUTS if bad is not _GRAD]
_SAME_PROBES = [
    BadValue(lambda x: x[:-1], ValueError, f"^{{name}} must have {PROBES} rows like .*, got {PROBES - 1}"),
    BadValue(lambda x: x.to("meta"), ValueError, "^{name} must be on cpu like .*, got meta"),
]
_MODELS_BAD = [
    BadValue(_value(7), TypeError, "^{name} must be a tensor, a NumPy array or a sequence of them, got int"),
    BadValue(_value([]), ValueError, "^{name} must hold at least 1 model, got 0"),
    BadValue(lambda x: x[0][None, :0], ValueError, "^{name} must have at least 2 rows"),
    BadValue(lambda x: x[0][None, :, :0], ValueError, "^{name} must have at least 1 column"),
    BadValue(lambda x: x[0][None][:0], ValueError, "^{name} must hold at least 1 model, got 0"),
    BadValue(lambda x: x[0][None, None], ValueError, r"^{name} must have shape \(m, n, k\), got"),
    BadValue(lambda x: x[0][None].to_sparse(), TypeError, "^{name} must be a dense tensor"),
    BadValue(lambda x: _masked(x[0][None]), TypeError, "^{name} must be a plain NumPy array, got a masked one"),
    *(
        BadValue(functools.partial(_of_one, bad.make), bad.error, bad.words.replace("{name}", r"{name}\[1\]"))
        for bad in (*_OUTPUTS, *_SAME_PROBES)
    ),
]
_VECTORS = [
    BadValue(lambda x: x.long(), TypeError, "^{name} must be vectors of uint8, float16 or float32, got torch.int64"),
    BadValue(lambda x: x.double().numpy(), TypeError, "^{name} must be vectors of .*, got float64"),
    BadValue(lambda x: x[:, 1:], ValueError, r"^{name} must have shape \(m, n\(n-1\)/2\), m at least 1, got"),
    BadValue(lambda x: x.to_sparse(), TypeError, "^{name} must be a dense tensor, got layout"),
    BadValue(_masked, TypeError, "^{name} must be a plain NumPy array, got a masked one"),
    BadValue(lambda x: _with(float("nan"), x), ValueError, "^models and queries must be finite, got a vector with NaN"),
    _GRAD,
]
_SAME_VECTORS = [
    BadValue(lambda x: x[:, :3], ValueError, r"^{name} must be \(q, 36\) torch.\w+ like models, got \(4, 3\)"),
    BadValue(lambda x: x[0], ValueError, r"^{name} must have shape \(m, n\(n-1\)/2\), m at least 1, got \(36,\)"),
    BadValue(lambda x: x[None], ValueError, r"^{name} must have shape .*, got \(1, 4, 36\)"),
    BadValue(lambda x: x.to("meta"), ValueError, "^{name} must be on cpu like models, got meta"),
]
_WEIGHTS = [
    BadValue(lambda x: x.tolist(), TypeError, "^{name} must be a torch tensor or a NumPy array of numbers, got list"),
    BadValue(lambda x: np.array([["a"] * PROBES]), TypeError, "^{name} must be .* got <U1"),
    BadValue(_masked, TypeError, "^{name} must be a plain NumPy array, got a masked one"),
    BadValue(lambda x: x > 0, TypeError, "^{name} must be dense real numbers, got torch.bool"),
    BadValue(lambda x: x.to_sparse(), TypeError, "^{name} must be dense real numbers, got .*sparse"),
    BadValue(lambda x: x[0], ValueError, rf"^{{name}} must have shape \(R, {PROBES}\), R at least 1, got"),
    BadValue(lambda x: x[:, :2], ValueError, rf"^{{name}} must have shape \(R, {PROBES}\), .* got \(5, 2\)"),
    BadValue(lambda x: x[:0], ValueError, rf"^{{name}} must have shape .* got \(0, {PROBES}\)"),
    BadValue(lambda x: x.to("meta"), ValueError, "^{name} must be on cpu like a, got meta"),
    BadValue(lambda x: _with(float("nan"), x), ValueError, "^{name} must be finite, got NaN or Inf in row 3"),
    BadValue(lambda x: _with(float("inf"), x), ValueError, "^{name} must be finite, got NaN or Inf in row 3"),
    BadValue(lambda x: _with(-1e-9, x), ValueError, "^{name} must be at least 0, got less in row 3"),
    BadValue(lambda x: x * 0, ValueError, "^{name} must be positive somewhere, got only zeros in row 0"),
    _GRAD,
]
_IMAGES_BAD = [
    BadValue(lambda x: x.tolist(), TypeError, "^{name} must be a torch tensor or a NumPy array, got list"),
    BadValue(lambda x: x.float(), TypeError, "^{name} must be uint8, got torch.float32"),
    BadValue(lambda x: x.short().numpy(), TypeError, "^{name} must be uint8, got int16"),
    BadValue(lambda x: x.to_sparse(), TypeError, "^{name} must be a dense tensor"),
    BadValue(_masked, TypeError, "^{name} must be a plain NumPy array, got a masked one"),
    BadValue(lambda x: x[0, 0], ValueError, r"^{name} must have shape \(n, H, W, 3\).*, got \(13, 3\)"),
    BadValue(lambda x: x[..., :2], ValueError, r"^{name} must have shape .*, got \(2, 11, 13, 2\)"),
    BadValue(lambda x: x[:, :0], ValueError, r"^{name} must have sides of 1 to 65500 pixels, got \(2, 0, 13, 3\)"),
    BadValue(lambda x: x.new_empty(2, 1, 65_501), ValueError, "^{name} must have sides of 1 to 65500 pixels"),
]
_QUALITY = [
    *(BadValue(_value(q), ValueError, f"^{{name}} must be 1 to 100, got {q}$") for q in (0, 101, -1)),
    BadValue(_value([3, 101]), ValueError, "^{name} must be 1 to 100, got 101 for image 1"),
    BadValue(_value([-1, 3]), ValueError, "^{name} must be 1 to 100, got -1 for image 0"),
    BadValue(_value([3]), ValueError, r"^{name} must be one number or have shape \(2,\) like images, got \(1,\)"),
    BadValue(lambda _: torch.ones(2, 1).long(), ValueError, r"^{name} must be .* like images, got \(2, 1\)"),
    BadValue(_value([[3], [3, 4]]), ValueError, r"^{name} must be one number or have shape \(2,\) like images: "),
    *(
        BadValue(_value(q), TypeError, "^{name} must be an integer or one for each image, got ")
        for q in (50.0, True, [True, True], "high", torch.ones(2).bfloat16(), torch.ones(2, requires_grad=True))
    ),
    BadValue(_value(torch.ones(2).long().to_sparse()), TypeError, "^{name} must be a dense tensor"),
    BadValue(
        lambda _: np.ma.array([5, 6], mask=[False, True]),
        TypeError,
        "^{name} must be a plain NumPy array, got a masked one",
    ),
]


def _not_one_of(*wrong: object) -> list[BadValue]:
    return [BadValue(_value(w), ValueError, f"^{{name}} must be one of .*, got {w!r}") for w in wrong]


# Bad values by kind
BAD: Mapping[str, list[BadValue]] = {
    "outputs": _OUTPUTS,
    "differentiable": _DIFFERENTIABLE,
    "differentiable, same probes": [*_DIFFERENTIABLE, *_SAME_PROBES],
    "models": _MODELS_BAD,
    "vectors": _VECTORS,
    "same vectors": [*_VECTORS, *_SAME_VECTORS],
    "weights": _WEIGHTS,
    "images": _IMAGES_BAD,
    "quality": _QUALITY,
    "top": [
        *(BadValue(_value(t), TypeError, "^{name} must be an integer, got ") for t in (1.5, True, None)),
        *(BadValue(_value(t), ValueError, f"^{{name}} must be within 1 … 4 .*got {t}") for t in (0, -1, 5)),
    ],
    "sigma": [
        *(
            BadValue(_value(s), ValueError, "^{name} must lie within 1e-4 … 1e15, got ")
            for s in (0.0, -1.0, 1e-5, 1e16, float("nan"), float("inf"))
        ),
        *(BadValue(_value(s), TypeError, "^{name} must be a number, got ") for s in ("wide", None)),
    ],
    "metric": _not_one_of("euclid", None),
    "comparison": _not_one_of("l3", 1),
    "precision": _not_one_of("tf32", None),
    "subsampling": _not_one_of("4:1:1", None),
    "first_pass": _not_one_of("int4", None),
    "dtype": [BadValue(_value(torch.int8), ValueError, "^{name} must be one of torch.uint8, .*got torch.int8")],
    "backend": _not_one_of("tpu", None),
}
