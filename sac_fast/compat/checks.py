"""Check on an example whether a script's function or reader is equivalent to one of this package.

Names are not sufficient: `correlation` of SAC is half of that of SAC_JC, and scripts are modified. Every function with
a known name and number of parameters is called once on a small example, and replaced only if values, shapes and dtypes
agree.
"""

from __future__ import annotations

import contextlib
import inspect
import io
import math
import os
import random
import tempfile
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from . import datasets, functions, sac, sac_jc
from .deferred import DeferredMatrix

Example = Callable[[Callable[..., Any]], Any]


class _ExampleModel(nn.Module):
    """Maps (b, 3, 4, 4) to (b, 5), without random numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(_waves(48, 5))

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1) @ self.weight


def _waves(*shape: int) -> Tensor:
    return torch.sin(1.7 * torch.arange(math.prod(shape), dtype=torch.float32) ** 1.1).reshape(shape)


def _rows(count: int) -> Tensor:
    rows = _waves(count, 5)
    rows[1] = 0
    rows[2] = rows[3]
    return rows


def _batches() -> list[tuple[Tensor, Tensor]]:
    images = _waves(7, 3, 4, 4)
    images[1] = 0
    labels = torch.tensor([0, 1, 2, 3, 4, 2, 0])
    return [(images[:4], labels[:4]), (images[4:], labels[4:])]


def _on_model(function: Callable[..., Any]) -> Any:
    return function(_ExampleModel(), _batches())


# Calls on examples with a zero row, equal rows, ties and an incomplete batch.
_EXAMPLES: dict[str, Example] = {
    "correlation": lambda function: function(_rows(6), _rows(8)),
    "pairwise_euclid_distance": lambda function: function(_rows(6)),
    "correlation_dist": lambda function: function(_rows(6)),
    "output_to_label": lambda function: function(_rows(6)),
    "similarity": lambda function: function(_rows(6), _rows(6).flip(0)),
    "calculate_auc": lambda function: function([0.1, 0.4, 0.2, 0.3], torch.tensor([0.3, 0.5, 0.2])),
    "cal_cor": _on_model,
    "cal_cor_onehot": _on_model,
    "cal_correct": _on_model,
    "feature": _on_model,
}


def _deferring(
    each: Callable[[Tensor], Tensor], correlation: Callable[[Tensor, Tensor], Tensor], factor: float, *, to_cpu: bool
) -> Callable[..., Tensor]:
    def form(outputs: Tensor) -> Tensor:
        return correlation(outputs, outputs)

    def cal_cor(model: nn.Module, dataloader: functions.Batches) -> Tensor:
        outputs = functions.model_outputs(model, dataloader, each, to_cpu=to_cpu)
        return DeferredMatrix((outputs,), form, factor) if outputs.dim() == 2 else form(outputs)

    return cal_cor


# Faster replacements of functions that have passed the check.
_REPLACEMENTS: dict[Callable[..., Any], Callable[..., Any]] = {
    sac_jc.cal_cor: _deferring(Tensor.detach, sac_jc.correlation, 1.0, to_cpu=False),
    sac.cal_cor: _deferring(Tensor.detach, sac.correlation, 0.5, to_cpu=True),
    sac.cal_cor_onehot: _deferring(sac.output_to_label, sac.correlation, 0.5, to_cpu=True),
}

READERS: dict[str, type[datasets.Hdf5Images]] = {
    name: getattr(datasets, name)
    for name in ("dataset_test", "dataset_none", "dataset_SAC", "dataset_SAC_num", "dataset1")
}


def parameter_count(name: str) -> int | None:
    """Number of parameters of the function of this name; None for unknown names."""
    if name not in _EXAMPLES:
        return None
    return len(inspect.signature(getattr(sac, name)).parameters)


def same_function(name: str, own: Callable[..., Any]) -> tuple[Callable[..., Any] | None, str]:
    """The function to call instead of a script's own, or None, and a message for the report."""
    example = _EXAMPLES[name]
    with _isolated_state():
        try:
            expected = example(own)
        except Exception as error:  # the script's code may raise anything
            return None, f"kept, since it fails on the example: {type(error).__name__}: {error}"
        for module in (sac_jc, sac):
            function = getattr(module, name, None)
            if function is not None and same_values(example(function), expected):
                return _REPLACEMENTS.get(function, function), f"replaced by {module.__name__}.{name}"
    return None, "kept, since its values on the example are others"


def same_reader(name: str, own: Callable[..., Any]) -> tuple[type[datasets.Hdf5Images] | None, str]:
    """The dataset class to use instead of a script's own, or None, and a message for the report."""
    reader = READERS[name]
    shown = f"replaced by {reader.__module__}.{name}"
    with _isolated_state(), _example_file(reader.layout) as file:
        arguments: tuple[Any, ...] = (file, 5) if name == "dataset_SAC_num" else (file,)
        ours: Any = reader(*arguments)
        try:
            theirs = own(*arguments)
            same = len(ours) == len(theirs) and all(
                same_values(list(ours[i]), list(theirs[i])) for i in range(len(ours))
            )
        except ModuleNotFoundError as error:
            return reader, f"{shown}, not compared: {error}"
        except Exception as error:  # the script's code may raise anything
            return None, f"kept, since it fails on the example: {type(error).__name__}: {error}"
    return (reader, shown) if same else (None, "kept, since its values on the example are others")


def same_values(ours: Any, theirs: Any) -> bool:
    """Equal within 1e-5 of the values, with the same types, shapes, dtypes and devices."""
    if isinstance(ours, Tensor) and isinstance(theirs, Tensor):
        alike = ours.shape == theirs.shape and ours.dtype == theirs.dtype and ours.device == theirs.device
        return alike and torch.allclose(ours.detach(), theirs.detach(), rtol=1e-5, atol=1e-6, equal_nan=True)
    if isinstance(ours, list) and isinstance(theirs, list):
        return len(ours) == len(theirs) and all(map(same_values, ours, theirs))
    numbers = (int, float)
    return isinstance(ours, numbers) and isinstance(theirs, numbers) and math.isclose(ours, theirs, rel_tol=1e-9)


@contextlib.contextmanager
def _isolated_state() -> Iterator[None]:
    """Hide the check from the script: no output, no warnings, no change of random states."""
    python, numpy_state = random.getstate(), np.random.get_state()  # noqa: NPY002 - the script may use it
    with torch.random.fork_rng(), warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy_state)  # noqa: NPY002


@contextlib.contextmanager
def _example_file(layout: str) -> Iterator[str]:
    """``data/….h5`` in a temporary folder, which is the current folder within the context, as the scripts expect."""
    images = _waves(9, 3, 12, 8).abs()
    if layout == "NHWC":
        images = images.permute(0, 2, 3, 1)
    with tempfile.TemporaryDirectory() as folder:
        os.mkdir(os.path.join(folder, "data"))
        datasets.write_hdf5(os.path.join(folder, "data", "example.h5"), images, torch.arange(9))
        with contextlib.chdir(folder):
            yield "example.h5"
