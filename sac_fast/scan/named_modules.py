"""Every module or callable that a scan names in a string, in one table: a test imports each entry."""

from __future__ import annotations

#: The main function of the fork server's process.
FORK_SERVER_MAIN = "sac_fast.scan.worker_main:main"
#: Architectures that a manifest which nobody has vouched for may name, with any arguments: they are ours. Compared as
#: whole specs: a prefix would also allow what the module imports, such as
#: ``sac_fast.demo.architectures:torch.os.mkdir``.
TRUSTED_ARCHITECTURES = frozenset(f"sac_fast.demo.architectures:{name}" for name in ("plain", "residual", "inception"))

NAMED = (FORK_SERVER_MAIN, *sorted(TRUSTED_ARCHITECTURES))
