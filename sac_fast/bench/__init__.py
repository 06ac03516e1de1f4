"""Benchmarks: check the results, then time them beside their peers and the machine's own limits, in one run."""

from .run import OPS, run_bench

__all__ = ["OPS", "run_bench"]
