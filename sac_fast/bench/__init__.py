"""Benchmarks: check the results, then time them beside their peers and the machine's own limits, in one run."""

from .run import PARTS, run_bench

__all__ = ["PARTS", "run_bench"]
