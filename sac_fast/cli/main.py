"""The command line: a thin layer over the Python API.

Results go to stdout, progress and errors to stderr. Exit codes: `exit_codes.py`.

Of the commands only the one that is asked for is imported; its module imports what is slow (torch, NumPy, rich) when it
runs, so that `sac-fast --help` is quick.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import io
import os
import signal
import sys
import threading
from collections.abc import Iterable
from typing import Annotated, NoReturn

import typer
from typer import Option

from ..errors import SacFastError
from ..io.text import MAX_ERROR, escape_text
from .exit_codes import ERROR
from .help import HelpCommand, HelpGroup

#: The modules of the commands by name; of those with commands of their own, what the help says of them.
COMMANDS = {
    "info": "",
    "demo": "",
    "probes": "Make probes, or remake a probe file and compare the pixels.",
    "fingerprint": "",
    "verify": "",
    "report": "Write the report on a case, or check one.",
    "audit": "",
    "pack": "Make, check or fetch a pack: answers of independents to published probes.",
    "weights": "",
    "siblings": "Train your model again with other seeds; pick the one to release.",
    "scan": "",
    "relatives": "",
    "store": "List, show, remove, export and check the models of a store.",
    "simulate": "",
    "testbed": "Train a labelled zoo of stolen and independent models; describe one.",
    "evaluate": "",
    "bench": "",
    "show": "",
}


def make_app(names: Iterable[str] = COMMANDS) -> typer.Typer:
    """The command line with some commands, whose modules are imported."""
    app = typer.Typer(
        name="sac-fast",
        cls=HelpGroup,
        help="Tell which neural networks were derived from which, by the correlation of their outputs (SAC-JC).",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback(invoke_without_command=True)(_version)
    for name in names:
        module = importlib.import_module(f".{name}", __package__)
        if text := COMMANDS[name]:
            app.add_typer(module.app, name=name, help=text)
        else:
            app.command(cls=getattr(module, "COMMAND_CLASS", HelpCommand))(getattr(module, name))
    return app


def __getattr__(name: str) -> typer.Typer:
    """``app``, all of it, is made when it is looked for."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    app: typer.Typer = globals().setdefault("app", make_app())
    return app


def _version(version: Annotated[bool, Option("--version", help="Print the version.")] = False) -> None:
    if version:
        from ..io.version import package_version

        print(f"sac-fast {package_version()}")
        raise typer.Exit


_INTERRUPTED = (128 + signal.SIGINT, 128 + signal.SIGTERM)


def main() -> None:
    """Run a command: expected errors become one line on stderr and exit code 1.

    KeyError, AttributeError and the like are bugs of ours, and keep their traceback.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Half a result and a traceback for one α is worse than a question mark where the terminal has no α.
        sys.stdout.reconfigure(errors="replace")
    named = [word for word in sys.argv[1:2] if word in COMMANDS]
    try:
        make_app(named or COMMANDS)()
    except SystemExit as end:
        if isinstance(end.code, int) and end.code in _INTERRUPTED:
            _end_at_once(end.code)
        raise
    except (SacFastError, ValueError, TypeError, OSError, MemoryError, RuntimeError, ArithmeticError) as error:
        print(f"sac-fast: {type(error).__name__}: {escape_text(error, MAX_ERROR)}", file=sys.stderr)
        sys.exit(ERROR)


def run() -> None:
    """What `sac-fast` calls: `main`, then an end in which torch is not taken apart, which costs 0.4 seconds of CPU."""
    _fill_standard_streams()
    code: object = 0
    try:
        main()
    except SystemExit as end:
        code = end.code or 0
    if isinstance(code, int) and "torch" in sys.modules:
        threading._shutdown()  # type: ignore[attr-defined]  # as the interpreter does: waits for threads
        atexit._run_exitfuncs()
        with contextlib.suppress(OSError, ValueError):  # a full disk: the interpreter says so
            for stream in filter(None, (sys.stdout, sys.stderr)):
                stream.flush()
            os._exit(code)
    sys.exit(code)  # type: ignore[arg-type]


def _fill_standard_streams() -> None:
    """Give closed standard streams to nothing: or a file takes the number, and whatever is printed goes into it."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest number that is free: this one


def _end_at_once(code: int) -> NoReturn:
    """End after a signal, when all that was open is closed: torch's own clean-up takes seconds on a busy machine."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)
