"""The whole method on a task small enough for a laptop: `sac-fast demo`."""

from typing import TYPE_CHECKING

from ..io.lazy import lazy_names

if TYPE_CHECKING:
    from .run import run_demo

__all__ = ["run_demo"]

# Workers of a scan import `sac_fast.demo.architectures` alone, without SciPy and what the demo runs.
__getattr__ = lazy_names(__name__, {".run": "run_demo"})
