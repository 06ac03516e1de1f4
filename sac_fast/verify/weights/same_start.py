"""Did both models begin with the values that one usual seed draws: that makes weights alike, and proves no copying."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ...models.architectures import build_architecture
from ..usual_seeds import USUAL_SEEDS, match_usual_seeds
from .arrays import NamedWeights

Architecture = Callable[[], nn.Module] | str


def find_same_start(
    a: NamedWeights, b: NamedWeights, architecture: Architecture | None, seeds: Sequence[int] = USUAL_SEEDS
) -> dict[str, Any] | None:
    """Seeds whose first values both models still resemble.

    Args:
        a, b: the models; where one is a module and no architecture is given, its layers are drawn again in their order.
        architecture: makes the untrained network: a callable, or ``"package.module:callable"``.
        seeds: to try.

    Returns:
        ``{"seeds": both, "a": of a, "b": of b, "tried": number}``; None where nothing can be drawn.
    """
    build = _make_builder(a, b, architecture)
    if build is None:
        return None
    shapes = {name: value.shape for name, value in build().named_parameters()}
    found = [{match.seed for match in match_usual_seeds(_fit(side, shapes), build, seeds=seeds)} for side in (a, b)]
    both = sorted(found[0] & found[1])
    return {"seeds": both, "a": sorted(found[0]), "b": sorted(found[1]), "tried": len(seeds)}


def _make_builder(
    a: NamedWeights, b: NamedWeights, architecture: Architecture | None
) -> Callable[[], nn.Module] | None:
    if isinstance(architecture, str):
        return lambda: build_architecture(architecture, {})
    if architecture is not None:
        return architecture
    module = a.module if a.module is not None else b.module
    return None if module is None else lambda: _draw_again(module)


def _draw_again(module: nn.Module) -> nn.Module:
    """A copy whose layers draw their first values as torch's layers do when they are made, in the module's order."""
    made = copy.deepcopy(module)
    for part in made.modules():
        reset = getattr(part, "reset_parameters", None)
        if callable(reset):
            reset()
    return made


def _fit(weights: NamedWeights, shapes: dict[str, torch.Size]) -> dict[str, Tensor]:
    """The model's arrays by the architecture's names; zeros, which resemble nothing, for those of another shape."""
    named = {array.name: array for array in weights.arrays}
    state = {}
    for name, shape in shapes.items():
        array = named.get(name)
        fits = array is not None and array.shape == tuple(shape)
        state[name] = torch.as_tensor(array.read()) if fits and array is not None else torch.zeros(shape)
    return state
