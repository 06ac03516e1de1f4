"""`python -m sac_fast` is `sac-fast`."""

from .cli import main

main()
