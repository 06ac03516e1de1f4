"""Every module or callable that a scan names in a string, in one table: a test imports each entry."""

from __future__ import annotations

#: The main function of the fork server's process.
FORK_SERVER_MAIN = "sac_fast.scan.worker_main:main"
#: Architectures that an untrusted manifest may name. Compared as whole specs: a prefix would also allow what the module
#: imports, such as ``sac_fast.demo.architectures:torch.os.mkdir``.
TRUSTED_ARCHITECTURES = frozenset(f"sac_fast.demo.architectures:{name}" for name in ("plain", "residual", "inception"))
#: Builds the model that its argument ``model`` names, with ``model_args``: trusted where that model is.
WITH_HEAD = "sac_fast.attacks.transfer:with_head"

NAMED = (FORK_SERVER_MAIN, *sorted(TRUSTED_ARCHITECTURES), WITH_HEAD)
