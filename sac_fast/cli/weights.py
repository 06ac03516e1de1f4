"""`sac-fast weights`: are two files' weights related, and which of a folder's are."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from .checks import check_output_path, refuse_if
from .options import Alpha, Force, Json, Quiet, file_option


def weights(
    a: Annotated[Path, Argument(exists=True, help="Weights of one model; a folder of many, if it stands alone.")],
    b: Annotated[Path | None, Argument(exists=True, help="Weights of the other.")] = None,
    ancestor: Annotated[
        Path | None, file_option("Model from which both may come: what it explains is judged apart.")
    ] = None,
    independent: Annotated[
        list[Path] | None,
        Option(exists=True, help="Models made without A, to calibrate reordered units and ancestors; repeatable."),
    ] = None,
    parent: Annotated[
        list[Path] | None,
        Option(exists=True, help="Instead of B: models of which A may be a merge, two or more; repeatable."),
    ] = None,
    architecture: Annotated[
        str | None, Option(help="package.module:callable of the network: usual seeds that both began with are named.")
    ] = None,
    alpha: Alpha = 1e-3,
    plot: Annotated[Path | None, Option(help="Draw the layers: a PNG file.")] = None,
    cache: Annotated[
        Path | None, Option(dir_okay=False, help="Of a folder: file that keeps what was done, to go on from there.")
    ] = None,
    force: Force = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Test whether two files' weights were made independently, from the files alone; or all pairs of a folder."""
    from ..verify.weights import weights_test
    from .render.weights import show_weights

    if parent:
        _merge(a, b, parent, as_json)
        return
    if b is None:
        given = {"--ancestor": ancestor, "--independent": independent, "--architecture": architecture, "--plot": plot}
        for option, value in given.items():
            refuse_if(bool(value), option, "needs two files of weights, got one argument")
        _search(a, alpha, cache, as_json, quiet)
        return
    refuse_if(cache is not None, "--cache", "goes with a folder alone, got two files of weights")
    if plot is not None:
        refuse_if(plot.suffix != ".png", "--plot", f"must end in .png, got {str(plot)!r}")
        check_output_path(plot, force, "--plot")
    independents = independent or []
    result = weights_test(a, b, ancestor=ancestor, independents=independents, architecture=architecture, alpha=alpha)
    # Print first, so that a plot that cannot be drawn does not lose the table.
    show_weights(result, as_json)
    if plot is not None:
        result.plot(plot)


def _merge(child: Path, b: Path | None, parents: list[Path], as_json: bool) -> None:
    """Shares of several parents."""
    from ..verify.weights import explain_merge
    from .render.weights import show_merge

    refuse_if(b is not None, "--parent", f"goes with A alone, got also {str(b)!r}")
    refuse_if(len(set(parents)) < 2, "--parent", f"must be given twice or more, got {len(set(parents))} models")
    show_merge(str(child), explain_merge(child, {str(path): path for path in parents}), as_json)


def _search(folder: Path, alpha: float, cache: Path | None, as_json: bool, quiet: bool) -> None:
    """All pairs of a folder."""
    from ..lineage.weights_relatives import weights_relatives
    from .render.weights_relatives import show_weights_relatives

    refuse_if(not folder.is_dir(), "A", f"must be a folder where no B is given, got the file {str(folder)!r}")
    found = weights_relatives(folder, alpha=alpha, cache=cache, progress=not quiet)
    show_weights_relatives(found, as_json)
