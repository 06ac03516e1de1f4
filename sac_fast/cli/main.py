"""The command line: a thin layer over the Python API.

Results go to stdout, progress and errors to stderr. Exit codes: `exit_codes.py`.

The modules of the commands import what is slow (torch, NumPy, rich) when a command runs, so that `sac-fast --help` is
quick.
"""

from __future__ import annotations

import contextlib
import functools
import io
import os
import signal
import sys
from typing import Annotated, Any, NoReturn

import typer
from typer import Option

from ..errors import SacFastError
from ..io.text import escape_text
from . import (
    audit,
    bench,
    demo,
    evaluate,
    fingerprint,
    info,
    pack,
    probes,
    relatives,
    report,
    scan,
    show,
    siblings,
    simulate,
    store,
    testbed,
    verify,
    weights,
)
from .exit_codes import ERROR
from .help import HelpCommand, HelpGroup


class App(typer.Typer):
    """Makes the options of all commands once: that takes longer than many commands, and tests call `main` often."""

    @functools.cached_property
    def command_group(self) -> Any:
        return typer.main.get_command(self)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.command_group(*args, **kwargs)


app = App(
    name="sac-fast",
    cls=HelpGroup,
    help="Tell which neural networks were derived from which, by the correlation of their outputs (SAC-JC).",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command(cls=HelpCommand)(info.info)
app.command(cls=HelpCommand)(demo.demo)
app.add_typer(probes.app, name="probes", help="Make probes, or remake a probe file and compare the pixels.")
app.command(cls=HelpCommand)(fingerprint.fingerprint)
app.command(cls=HelpCommand)(verify.verify)
app.add_typer(report.app, name="report", help="Write the report on a case, or check one.")
app.command(cls=HelpCommand)(audit.audit)
app.add_typer(pack.app, name="pack", help="Make, check or fetch a pack: answers of independents to published probes.")
app.command(cls=HelpCommand)(weights.weights)
app.add_typer(siblings.app, name="siblings", help="Train your model again with other seeds; pick the one to release.")
app.command(cls=scan.ScanCommand)(scan.scan)
app.command(cls=HelpCommand)(relatives.relatives)
app.add_typer(store.app, name="store", help="List, show, remove, export and check the models of a store.")
app.command(cls=HelpCommand)(simulate.simulate)
app.add_typer(testbed.app, name="testbed", help="Train a labelled zoo of stolen and independent models; describe one.")
app.command(cls=HelpCommand)(evaluate.evaluate)
app.command(cls=HelpCommand)(bench.bench)
app.command(cls=HelpCommand)(show.show)


_INTERRUPTED = (128 + signal.SIGINT, 128 + signal.SIGTERM)


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, Option("--version", help="Print the version.")] = False) -> None:
    if version:
        from ..io.version import package_version

        print(f"sac-fast {package_version()}")
        raise typer.Exit


def main() -> None:
    """Entry point of `sac-fast`: expected errors become one line on stderr and exit code 1.

    KeyError, AttributeError and the like are bugs of ours, and keep their traceback.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Half a result and a traceback for one α is worse than a question mark where the terminal has no α.
        sys.stdout.reconfigure(errors="replace")
    try:
        app()
    except SystemExit as end:
        if isinstance(end.code, int) and end.code in _INTERRUPTED:
            _end_at_once(end.code)
        raise
    except (SacFastError, ValueError, TypeError, OSError, MemoryError, RuntimeError, ArithmeticError) as error:
        print(f"sac-fast: {type(error).__name__}: {escape_text(error)}", file=sys.stderr)
        sys.exit(ERROR)


def _end_at_once(code: int) -> NoReturn:
    """End after a signal, when all that was open is closed: torch's own clean-up takes seconds on a busy machine."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)
