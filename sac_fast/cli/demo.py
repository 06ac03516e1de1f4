"""`sac-fast demo`: the whole method on photographs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Option

from .options import Comparison, Json, Metric, Quiet, Seed, Workers


def demo(
    out: Annotated[Path, Option(help="Folder for everything the demo makes.")] = Path("sac-fast-demo"),
    seed: Seed = 0,
    quick: Annotated[bool, Option("--quick", help="Fewer models and probes, approximate verdicts.")] = False,
    metric: Metric = "pearson",
    comparison: Comparison = "l1",
    workers: Workers = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train a model on photographs and its siblings, steal it in several ways, and find the thieves."""
    from ..demo import run_demo
    from .render.demo import show_demo

    results = run_demo(
        out, seed=seed, quick=quick, metric=metric, comparison=comparison, workers=workers, progress=not quiet
    )
    show_demo(results, out, as_json)
