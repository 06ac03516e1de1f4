"""Was a source started from a seed that strangers use too? Then the sibling test is not exact for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from ..models.architectures import build_architecture

#: Seeds of tutorials and scripts, few enough to draw an architecture with each.
USUAL_SEEDS = (*range(11), 42, 100, 123, 1000, 1111, 1234, 1337, 2020, 2021, 2022, 2023, 2024, 2025, 2026, 3407, 12345)
#: Level of the test, over all seeds and layers together.
ALPHA = 1e-3
_MIN_ENTRIES = 64
# Numbers below are what people choose: 0, 1, 42, 1234, years, dates such as 20240131.
_CHOSEN = 10**8
_WELL_KNOWN = frozenset(
    [
        *(123456789, 987654321, 1234567890, 314159265, 3141592653, 271828182, 2718281828, 161803398, 1618033988),
        *(2**31 - 1, 2**31, 2**32 - 1, 0xDEADBEEF, 0xCAFEBABE, 0xC0FFEE00, 0x12345678, 0x0BADF00D),
        *(111111111 * digit for digit in range(1, 10)),
        *(1111111111 * digit for digit in range(1, 4)),
    ]
)


def is_usual_seed(seed: int) -> bool:
    """Whether a seed is one that people choose, so that others may have trained with it.

    Args:
        seed: any integer.

    Example:
        >>> [is_usual_seed(seed) for seed in (0, 42, 20240131, 2718281828, 3023175482)]
        [True, True, True, True, False]
    """
    return seed < _CHOSEN or seed in _WELL_KNOWN


@dataclass(frozen=True)
class SeedMatch:
    """A seed whose initial weights the source still resembles.

    Attributes:
        seed: the seed.
        cosines: of each layer's weights with their start, by the parameter's name.
        p_value: of the most similar layer, times the numbers of layers and seeds.
    """

    seed: int
    cosines: dict[str, float]
    p_value: float

    def __str__(self) -> str:
        middle = float(np.median(list(self.cosines.values())))
        return (
            f"The source starts from the usual seed {self.seed} (median cosine of {len(self.cosines)} layers with the "
            f"start {middle:.2f}): whoever ran the same recipe with it shares this start, and is not exchangeable with "
            "the siblings."
        )


def match_usual_seeds(
    weights: nn.Module | Mapping[str, Tensor],
    build: Callable[[], nn.Module] | str,
    *,
    arguments: Mapping[str, object] | None = None,
    seeds: Sequence[int] = USUAL_SEEDS,
) -> list[SeedMatch]:
    """Seeds whose initial weights the source's weights still resemble.

    Trained weights keep a cosine with their start, in small networks of 0.3 to 0.9. With a start drawn independently of
    them, cosine · √N of a layer with N independent, centred weights is standard normal for large N. A seed is told
    where ``layers · seeds · P(Z ≥ cosine √N) ≤ 0.001`` for some layer.

    Args:
        weights: the source, or its state dict.
        build: makes the untrained architecture: a callable without arguments, or ``"package.module:callable"``. It is
            called after ``torch.manual_seed(seed)``, once a seed; models that draw something else before their weights
            are not recognised.
        arguments: of the callable that a text names.
        seeds: to try.

    Returns:
        The matches, the most similar one first.

    Raises:
        ValueError: the architecture's parameters have other names or shapes than the weights.

    Example::

        >>> import torch
        >>> _ = torch.manual_seed(42)
        >>> model = torch.nn.Linear(20, 10)
        >>> [match.seed for match in match_usual_seeds(model, lambda: torch.nn.Linear(20, 10))]
        [42]
    """
    state = weights.state_dict() if isinstance(weights, nn.Module) else weights
    found = []
    for seed in seeds:
        cosines, deviations = _compare(state, _draw(build, arguments or {}, seed))
        if not cosines:
            continue
        best = max(deviations)
        p = float(min(1.0, len(seeds) * len(cosines) * _upper_tail(best)))
        if p <= ALPHA:
            found.append(SeedMatch(seed, cosines, p))
    return sorted(found, key=lambda match: -float(np.median(list(match.cosines.values()))))


def _draw(build: Callable[[], nn.Module] | str, arguments: Mapping[str, object], seed: int) -> dict[str, Tensor]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = build_architecture(build, dict(arguments)) if isinstance(build, str) else build()
    return {name: value.detach() for name, value in module.named_parameters()}


def _compare(state: Mapping[str, Tensor], start: Mapping[str, Tensor]) -> tuple[dict[str, float], list[float]]:
    """Cosines by layer, and the same times √N. Layers that start constant or small say nothing."""
    cosines, deviations = {}, []
    for name, initial in start.items():
        if name not in state or state[name].shape != initial.shape:
            raise ValueError(f"weights must fit the architecture, got no {name} {tuple(initial.shape)}")
        if initial.ndim < 2 or initial.numel() < _MIN_ENTRIES:
            continue
        a, b = (value.detach().cpu().double().flatten() for value in (state[name], initial))
        a, b = a - a.mean(), b - b.mean()
        scale = float(a.norm() * b.norm())
        if scale > 0:
            cosines[name] = float(a @ b) / scale
            deviations.append(cosines[name] * float(np.sqrt(b.numel())))
    return cosines, deviations


def _upper_tail(z: float) -> float:
    from scipy.stats import norm  # imported late: slow to import

    return float(norm.sf(z))
