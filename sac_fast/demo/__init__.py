"""The whole method on a task small enough for a laptop: `sac-fast demo`."""

from .run import run_demo

__all__ = ["run_demo"]
