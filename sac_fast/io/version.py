"""The version that files and reports state."""

from __future__ import annotations

import contextlib
import os
import re


def package_version() -> str:
    """The installed version of sac_fast, or ``"unknown"`` when it runs from a source tree."""
    from importlib import metadata  # costs 10 ms, hence not at import time

    try:
        return metadata.version("sac-fast")
    except metadata.PackageNotFoundError:
        return "unknown"


def torch_version() -> str:
    """``torch.__version__``, without importing torch: from the file that it takes it from."""
    from importlib.util import find_spec

    spec = find_spec("torch")
    for folder in [] if spec is None else spec.submodule_search_locations or []:
        with contextlib.suppress(OSError, UnicodeDecodeError), open(os.path.join(folder, "version.py")) as handle:
            if found := re.search(r"^__version__ = ['\"]([^'\"]+)['\"]$", handle.read(1 << 16), re.MULTILINE):
                return found[1]
    import torch

    return str(torch.__version__)
