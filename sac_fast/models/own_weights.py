"""Models that are built without a file of weights: whether their code loads weights, or they are random."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from ..errors import ModelError
from .architectures import build_architecture
from .state_hash import weights_hash

#: Reason of the ModelError of a callable whose weights are random.
RANDOM_WEIGHTS = "random-weights"
#: "code": the callable loads its own; "random": they depend on the seed; "none": there are none.
Origin = Literal["code", "random", "none"]
_SEEDS = (0, 1)


def load_without_weights(
    spec: str, kwargs: Mapping[str, Any] | None = None, *, random_weights: bool = False
) -> tuple[nn.Module, Origin]:
    """Build a model without a file of weights, twice with different seeds, to see where its weights come from.

    A callable that seeds itself looks like one that loads weights: both are *weights from code*.

    Args:
        spec, kwargs: as in `sac_fast.load_model`.
        random_weights: take weights that differ between the two; those of seed 0.

    Returns:
        The model, and where its weights come from.

    Raises:
        ModelError: the weights are random (reason ``"random-weights"``), or the spec names nothing that gives an
            `nn.Module`.

    Example::

        >>> load_without_weights("torch.nn:Flatten")
        (Flatten(start_dim=1, end_dim=-1), 'none')
        >>> load_without_weights("torch.nn:Linear", {"in_features": 4, "out_features": 2})
        Traceback (most recent call last):
        sac_fast.errors.ModelError: weights of 'torch.nn:Linear' must come from a file (--weights) or from its code, got other values for another seed in 'bias'; --random-weights takes them as they are
    """  # noqa: E501 - the message is one line
    first, second = (_seeded(seed, lambda: build_architecture(spec, kwargs)) for seed in _SEEDS)
    if not first.state_dict():
        return first, "none"
    if weights_hash(first) == weights_hash(second):
        return first, "code"
    if not random_weights:
        raise ModelError(
            f"weights of {spec!r} must come from a file (--weights) or from its code, got other values for another "
            f"seed in {_first_difference(first, second)!r}; --random-weights takes them as they are",
            reason=RANDOM_WEIGHTS,
        )
    return first, "random"


def _first_difference(first: nn.Module, second: nn.Module) -> str:
    others = second.state_dict()
    same = {key for key, value in first.state_dict().items() if key in others and torch.equal(value, others[key])}
    return min({*first.state_dict(), *others} - same, default="")


def _seeded(seed: int, build: Callable[[], nn.Module]) -> nn.Module:
    """Build with seeded generators of torch, NumPy and Python, which are as before afterwards."""
    of_python, of_numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 - what models may use
    try:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            random.seed(seed)
            np.random.seed(seed)  # noqa: NPY002
            return build()
    finally:
        random.setstate(of_python)
        np.random.set_state(of_numpy)  # noqa: NPY002
