"""Engines of the JPEG step: Pillow, the exact op of this package, and DALI."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, get_args

from .. import _backend
from ..errors import ProbeError
from ..io.choices import JpegEngine, Subsampling
from ..io.exit_gate import gated
from ..io.lazy import LazyModule
from ..io.version import package_version
from .arguments import check_choice
from .jpeg import Pixels, check_batch, engine_versions, jpeg_compress, pillow_is_exact

if TYPE_CHECKING:
    import torch
else:  # reading probes needs no torch
    torch = LazyModule("torch")

ENGINES: tuple[JpegEngine, ...] = get_args(JpegEngine)
_CHUNK = 256


def default_engine() -> JpegEngine:
    """``"native"`` if the compiled op is available, else ``"pillow"``; both give the same pixels."""
    return "native" if _backend.is_compiled() else "pillow"


def available_engines() -> dict[str, str | None]:
    """For each engine the reason why it cannot run here, or None."""
    from .dali import missing_dali

    missing_native = None if _backend.is_compiled() else "the compiled module is missing"
    return {"native": missing_native, "pillow": None, "dali": missing_dali()}


def is_exact(engine: JpegEngine, device: str = "cpu") -> bool:
    """Whether the engine gives the pixels of libjpeg-turbo, as called by Pillow, bit for bit."""
    if engine == "pillow":
        return pillow_is_exact()
    return engine == "native" or torch.device(device).type == "cpu"


@gated  # around the kernel are functions of torch, which no thread may be inside of at the end either
def compress(
    images: Pixels,
    quality: int | Sequence[int],
    subsampling: Subsampling,
    engine: JpegEngine | None = None,
    device: str = "cpu",
) -> tuple[Pixels, dict[str, Any]]:
    """Compress images to JPEG and decode them again with one of the engines.

    Args:
        images, quality, subsampling: see `jpeg_compress`.
        engine: ``"native"`` (exact, CPU and CUDA), ``"pillow"`` (exact on libjpeg-turbo), ``"dali"`` (exact on
            the CPU, an approximation in floating point on a GPU; 4:2:0 only); None: `default_engine`.
        device: ``"cpu"`` or a CUDA device, for the engines ``native`` and ``dali``.

    Returns:
        The new images, and the entries for the provenance: engine, device, exactness, versions.

    Raises:
        ProbeError: an unknown or missing engine, or wrong images, qualities or subsampling.
    """
    engine = default_engine() if engine is None else engine
    check_choice("engine", engine, ENGINES)
    place = _check_device(device)
    if engine == "pillow" and place.type != "cpu":
        raise ProbeError(f'device must be "cpu" for the engine pillow, got {device!r}')
    qualities = check_batch(images, quality, subsampling)
    versions = {"sac_fast": package_version()}
    if engine == "pillow":
        result, versions = jpeg_compress(images, qualities, subsampling), engine_versions()
    elif engine == "native":
        result, versions["torch"] = _native(images, qualities, subsampling, place), torch.__version__
    else:
        from . import dali

        result, versions["dali"] = dali.jpeg_distort(images, qualities, subsampling, str(place)), dali.version()
    return result, {"engine": engine, "device": place.type, "exact": is_exact(engine, device), "versions": versions}


def _check_device(device: str) -> torch.device:
    try:
        place = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ProbeError(f'device must be "cpu" or a CUDA device, got {device!r}') from error
    if place.type not in ("cpu", "cuda"):
        raise ProbeError(f'device must be "cpu" or a CUDA device, got {device!r}')
    if place.type == "cuda" and not torch.cuda.is_available():
        raise ProbeError(f"device must be one that torch can use here, got {device!r}")
    return place


def _native(images: Pixels, qualities: list[int], subsampling: Subsampling, place: torch.device) -> Pixels:
    if not _backend.is_compiled():
        raise ProbeError("engine 'native' must be compiled and is not; engine 'pillow' gives the same pixels")
    from ..ops.jpeg_roundtrip import jpeg_roundtrip

    result = images.copy(order="C")  # writable, as torch requires; overwritten chunk by chunk
    for start in range(0, len(images), _CHUNK):
        piece = result[start : start + _CHUNK]
        try:
            out = jpeg_roundtrip(torch.from_numpy(piece).to(place), qualities[start : start + _CHUNK], subsampling)
        except ValueError as error:
            raise ProbeError(f"images of size {images.shape[1:3]} cannot be JPEG: {error}") from error
        piece[...] = out.cpu().numpy()
    return result
