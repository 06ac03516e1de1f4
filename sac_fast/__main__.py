"""`python -m sac_fast` is `sac-fast`."""

from .cli.main import run

run()
