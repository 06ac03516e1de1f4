"""`sac-fast weights`: are two files' weights related."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from .checks import check_output_path, refuse_if
from .options import Alpha, Force, Json, file_option


def weights(
    a: Annotated[Path, Argument(exists=True, help="Weights of one model.")],
    b: Annotated[Path, Argument(exists=True, help="Weights of the other.")],
    ancestor: Annotated[
        Path | None, file_option("Model from which both may come: what it explains is judged apart.")
    ] = None,
    independent: Annotated[
        list[Path] | None,
        Option(exists=True, help="Models made without A, to calibrate reordered units and ancestors; repeatable."),
    ] = None,
    architecture: Annotated[
        str | None, Option(help="package.module:callable of the network: usual seeds that both began with are named.")
    ] = None,
    alpha: Alpha = 1e-3,
    plot: Annotated[Path | None, Option(help="Draw the layers: a PNG file.")] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Test whether two files' weights were made independently, layer by layer, from the files alone."""
    from ..verify.weights import weights_test
    from .render.weights import show_weights

    if plot is not None:
        refuse_if(plot.suffix != ".png", "--plot", f"must end in .png, got {str(plot)!r}")
        check_output_path(plot, force, "--plot")
    independents = independent or []
    result = weights_test(a, b, ancestor=ancestor, independents=independents, architecture=architecture, alpha=alpha)
    # Print first, so that a plot that cannot be drawn does not lose the table.
    show_weights(result, as_json)
    if plot is not None:
        result.plot(plot)
