"""The version that files and reports state."""

from __future__ import annotations


def package_version() -> str:
    """The installed version of sac_fast, or ``"unknown"`` when it runs from a source tree."""
    from importlib import metadata  # costs 10 ms, hence not at import time

    try:
        return metadata.version("sac-fast")
    except metadata.PackageNotFoundError:
        return "unknown"
