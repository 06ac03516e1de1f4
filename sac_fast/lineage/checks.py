"""Checks of the arguments of a search for relatives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from ..io.choices import Metric
from ..models.kinds import KINDS
from ..ops.arguments import METRICS, check_choice


def check_search(
    names: tuple[str, ...],
    outputs: list[Tensor],
    independents: Mapping[str, str | None],
    models: Sequence[str] | None,
    among: Sequence[str] | None,
    top: int,
    alpha: float,
    metric: Metric,
    max_weights: int,
    source: str | None,
    siblings: int,
) -> None:
    """Raise a ValueError for arguments that `find_relatives` does not take."""
    check_choice("metric", metric, METRICS)
    if len(names) != len(outputs) or len(names) < 2:
        raise ValueError(f"names and outputs must be of the same two or more models, got {len(names)}, {len(outputs)}")
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"names must be different, got {twice!r} twice")
    for argument, given in (("independents", list(independents)), ("models", models or ()), ("among", among or ())):
        if unknown := sorted(set(given) - set(names)):
            raise ValueError(f"{argument} must be among the {len(names)} models, got {unknown[0]!r}")
        if len(set(given)) != len(given):
            raise ValueError(f"{argument} must be different, got {sorted(given)}")
    if among is not None and not among:
        raise ValueError("among must name at least one model, got none")
    if isinstance(top, bool) or not isinstance(top, int) or top < 1:
        raise ValueError(f"top must be an integer of at least 1, got {top!r}")
    for kind in independents.values():
        check_choice("a kind of independents", kind or KINDS[0], KINDS)
    if max_weights < 0:
        raise ValueError(f"max_weights must be at least 0, got {max_weights}")
    if source is not None and source not in names:
        raise ValueError(f"source must be among the {len(names)} models, got {source!r}")
    if siblings and source is None:
        raise ValueError(f"source must name the model of which the {siblings} siblings are siblings, got None")
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must lie strictly between 0 and 1, got {alpha}")
