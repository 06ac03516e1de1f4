"""`sac-fast info`: versions and what this installation can do."""

from __future__ import annotations

from typing import Any

from .options import Json


def info(as_json: Json = False) -> None:
    """Show version, backends, instruction sets and library versions."""
    from .render.common import show_info

    show_info(installation(), as_json)


def installation() -> dict[str, Any]:
    """Versions and capabilities of this installation, JSON-able."""
    import importlib.metadata
    import platform

    import numpy
    import PIL
    import torch
    from PIL import features

    from ..io.version import package_version
    from ..ops import capabilities

    def version(package: str) -> str | None:
        try:
            return importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            return None

    turbo = features.check_feature("libjpeg_turbo")
    return {
        "sac_fast": package_version(),
        **capabilities(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "pillow": PIL.__version__,
        "libjpeg_turbo": features.version_feature("libjpeg_turbo") if turbo else None,
        "dali": version("nvidia-dali-cuda130") or version("nvidia-dali-cuda120"),
    }
