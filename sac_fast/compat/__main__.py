"""``python -m sac_fast.compat SCRIPT.py [args]``: see `run_script`."""

from __future__ import annotations

import argparse
import os

from .patcher import run_script


def main(argv: list[str] | None = None) -> None:
    """Parse the options that stand before the script and run it; what follows the script is the script's."""
    parser = argparse.ArgumentParser(
        prog="python -m sac_fast.compat",
        description="Run a script of SAC or SAC_JC as it is, with sac_fast's functions and file readers in place of "
        "its own wherever both give the same values. Without a GPU, .cuda() does nothing. What was replaced, and "
        "what was kept and why, is printed on stderr.",
    )
    parser.add_argument("--quiet", action="store_true", help="do not print what was replaced")
    parser.add_argument(
        "--allow-pickled-models",
        action="store_true",
        help="let torch.load run the code in pickled models, as old versions of PyTorch did: only for files you trust",
    )
    parser.add_argument("script", metavar="SCRIPT.py", help="the script")
    parser.add_argument("arguments", metavar="args", nargs=argparse.REMAINDER, help="the script's own arguments")
    options = parser.parse_args(argv)
    if not os.path.isfile(options.script):
        parser.error(f"SCRIPT.py must be a file, got {options.script!r}")
    run_script(
        options.script, options.arguments, allow_pickled_models=options.allow_pickled_models, quiet=options.quiet
    )


if __name__ == "__main__":
    main()
