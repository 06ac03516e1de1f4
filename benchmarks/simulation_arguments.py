"""The command lines that the simulations of error rates share."""

from __future__ import annotations

import argparse
from pathlib import Path


def parse_arguments(
    description: str | None, seed: int, repetitions: str, only: tuple[str, ...] = ()
) -> tuple[argparse.ArgumentParser, argparse.Namespace]:
    """Parse --json, --repetitions and --seed; refuse a missing folder before anything is computed.

    Args:
        description: docstring of the script; its first line is shown.
        seed: default of --seed.
        repetitions: what --repetitions counts.
        only: what --only chooses from; none: there is no such option.

    Returns:
        The parser, for messages, and what was asked for.
    """
    parser = argparse.ArgumentParser(description=(description or "").splitlines()[0])
    parser.add_argument("--json", type=Path, required=True, metavar="FILE", help="the result")
    parser.add_argument("--repetitions", type=int, default=2000, help=repetitions)
    parser.add_argument("--seed", type=int, default=seed, help="of all randomness")
    if only:
        parser.add_argument("--only", nargs="+", choices=only, default=only, help="what is simulated (all)")
    asked = parser.parse_args()
    if not asked.json.parent.is_dir():
        parser.error(f"the folder of --json must exist, got {str(asked.json.parent)!r}")
    if asked.repetitions < 1:
        parser.error(f"--repetitions must be at least 1, got {asked.repetitions}")
    return parser, asked


def parse_zoo_arguments(
    prog: str, description: str | None, seed: int, drawn: str, arguments: list[str] | None = None
) -> argparse.Namespace:
    """Parse folders of labelled zoos, --json and --seed; refuse a missing folder before anything is computed.

    Args:
        prog: name of the script.
        description: its docstring.
        seed: default of --seed.
        drawn: what --seed draws.
        arguments: of the command line; None: those of the process.
    """
    parser = argparse.ArgumentParser(
        prog=prog, description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", type=Path, nargs="+", help="labelled zoos, or folders of them (TASK/SOURCE)")
    parser.add_argument("--json", type=Path, required=True, metavar="FILE", help="the result")
    parser.add_argument("--seed", type=int, default=seed, help=f"of the draws of {drawn}")
    asked = parser.parse_args(arguments)
    if not asked.json.parent.is_dir():
        parser.error(f"the folder of --json must exist, got {str(asked.json.parent)!r}")
    return asked
