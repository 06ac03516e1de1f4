"""Corruptions of Hendrycks & Dietterich, by the package ``imagecorruptions`` (extra ``corruptions``)."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator, Sequence
from importlib import metadata
from typing import Any

import numpy as np

from ..errors import ProbeError
from .arguments import as_integer, check_choice, check_integer, import_optional
from .committed_draw import derived_integer
from .jpeg import Pixels
from .probe_set import ProbeSet
from .provenance import step_versions

CORRUPTIONS = (
    *("gaussian_noise", "shot_noise", "impulse_noise", "defocus_blur", "glass_blur", "motion_blur", "zoom_blur"),
    *("snow", "frost", "fog", "brightness", "contrast", "elastic_transform", "pixelate", "jpeg_compression"),
    *("speckle_noise", "gaussian_blur", "spatter", "saturate"),
)
_PARTS = ("imagecorruptions-imaug", "numpy", "scipy", "scikit-image", "opencv-python", "numba", "pillow")


def corrupt(probes: ProbeSet, name: str, *, severity: int, seed: int = 0) -> ProbeSet:
    """Apply one corruption to every image, reproducibly.

    The package uses NumPy's global generator. It is seeded for image i with SHA-256 of ``("corruption", seed, i)``
    modulo 2³², and its state is restored afterwards.

    Args:
        probes: images of at least 32×32.
        name: one of `CORRUPTIONS`, as ``imagecorruptions`` names them.
        severity: 1..5.
        seed: seed of the random corruptions.

    Returns:
        New probes with the same labels. The provenance has the seed of each image and the versions of the packages.

    Raises:
        ProbeError: the extra ``corruptions`` is not installed, an unknown name or severity, or images too small.

    Example::

        >>> probes = ProbeSet.from_arrays(np.full((2, 40, 40, 3), 128, dtype=np.uint8))
        >>> foggy = corrupt(probes, "fog", severity=3)
        >>> foggy.images.shape
        (2, 40, 40, 3)

    Source: Hendrycks & Dietterich, ICLR 2019; Michaelis et al., arXiv 1907.07484 (``imagecorruptions``).
    """
    check_choice("corruption", name, CORRUPTIONS)
    level = as_integer(severity)
    if level not in (1, 2, 3, 4, 5):
        raise ProbeError(f"severity must be one of 1, 2, 3, 4, 5, got {severity!r}")
    severity, seed = level, check_integer("seed", seed)
    seeds = [derived_integer("corruption", seed, index) % 2**32 for index in range(len(probes))]
    step: dict[str, Any] = {"kind": "corruption", "name": name, "severity": severity, "seed": seed}
    step |= {"engine": "imagecorruptions", "exact": False, "versions": step_versions(**_versions())}
    images = apply_corruption(probes.images, name, severity, seeds)
    return probes.augmented(images, step, [{"seed": value} for value in seeds])


def apply_corruption(images: Pixels, name: str, severity: int, seeds: Sequence[int]) -> Pixels:
    """Apply the corruption to each image, with NumPy's global generator seeded by the image's seed."""
    module = _package()
    if min(images.shape[1:3]) < 32:
        raise ProbeError(f"images must be at least 32×32 to be corrupted, got {images.shape[1]}×{images.shape[2]}")
    # Two of the functions have a generator of their own.
    takes_seed = "seed" in inspect.signature(module.corruption_dict[name]).parameters
    result = np.empty_like(images)
    for index, (image, seed) in enumerate(zip(images, seeds, strict=True)):
        with _seeded(seed):
            extra = {"seed": seed} if takes_seed else {}
            result[index] = module.corrupt(image.copy(), severity, name, **extra)
    return result


@contextlib.contextmanager
def _seeded(seed: int) -> Iterator[None]:
    state = np.random.get_state()  # noqa: NPY002  # the package uses no other generator
    np.random.seed(seed)  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(state)  # noqa: NPY002


def missing_corruptions() -> str | None:
    """Why the corruptions cannot be used and which extra to install; None if they can."""
    try:
        metadata.version("imagecorruptions-imaug")
    except metadata.PackageNotFoundError:
        return (
            "imagecorruptions-imaug is not installed: pip install 'sac-fast[corruptions]' (the older package "
            "imagecorruptions does not work on current NumPy)"
        )
    return None


def _package() -> Any:
    return import_optional("imagecorruptions", "the corruptions", missing_corruptions())


def _versions() -> dict[str, str]:
    _package()
    found = {}
    for part in _PARTS:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[part] = metadata.version(part)
    return found
