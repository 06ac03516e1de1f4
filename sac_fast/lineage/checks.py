"""Checks of the arguments of a search for relatives."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from ..ops.arguments import METRICS, check_choice


def check_search(
    names: tuple[str, ...],
    outputs: list[Tensor],
    independents: Sequence[str],
    models: Sequence[str] | None,
    among: Sequence[str] | None,
    top: int,
    alpha: float,
    metric: str,
) -> None:
    """Raise a ValueError for arguments that `find_relatives` does not take."""
    check_choice("metric", metric, METRICS)
    if len(names) != len(outputs) or len(names) < 2:
        raise ValueError(f"names and outputs must be of the same two or more models, got {len(names)}, {len(outputs)}")
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"names must be different, got {twice!r} twice")
    for argument, given in (("independents", independents), ("models", models or ()), ("among", among or ())):
        if unknown := sorted(set(given) - set(names)):
            raise ValueError(f"{argument} must be among the {len(names)} models, got {unknown[0]!r}")
        if len(set(given)) != len(given):
            raise ValueError(f"{argument} must be different, got {sorted(given)}")
    if among is not None and not among:
        raise ValueError("among must name at least one model, got none")
    if isinstance(top, bool) or not isinstance(top, int) or top < 1:
        raise ValueError(f"top must be an integer of at least 1, got {top!r}")
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must lie strictly between 0 and 1, got {alpha}")
