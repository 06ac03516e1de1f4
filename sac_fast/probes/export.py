"""Probes as image files, for services that only a person can use; the files' names say which probe each is."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from ..errors import ProbeError
from ..io.files import StrPath, atomic_write
from ..io.hashing import content_hash
from .probe_set import ProbeSet

MANIFEST = "manifest.json"
MANIFEST_KIND = "sac_fast exported probes"
JPEG_QUALITY = 95
_NAME = re.compile(r"(\d{5,9})-([0-9a-f]{8})(?:\.[A-Za-z0-9]+)?")


def image_key(image: npt.NDArray[np.uint8]) -> str:
    """Hash of one image, uint8 ``(H, W, 3)``, by which answers to it are found again."""
    return content_hash({"image": image})


def encode_image(image: npt.NDArray[np.uint8], image_format: str) -> bytes:
    """An image file: PNG holds the pixels as they are, JPEG (quality 95, 4:4:4) does not.

    Args:
        image: uint8 ``(H, W, 3)``.
        image_format: ``"png"`` or ``"jpeg"``.
    """
    made = io.BytesIO()
    options: dict[str, Any] = {"quality": JPEG_QUALITY, "subsampling": 0} if image_format == "jpeg" else {}
    Image.fromarray(image).save(made, format=image_format.upper(), **options)
    return made.getvalue()


def exported_name(index: int, image: npt.NDArray[np.uint8], image_format: str = "png") -> str:
    """File name of a probe: its number and the first digits of its hash."""
    return f"{index:05}-{image_key(image)[7:15]}.{'jpg' if image_format == 'jpeg' else image_format}"


def export_probes(probes: ProbeSet, folder: StrPath, *, image_format: Literal["png", "jpeg"] = "png") -> list[Path]:
    """Write every probe as an image file, and manifest.json with the hash of the probe set.

    Args:
        probes: the images.
        folder: missing or empty.
        image_format: ``"png"``: the very pixels; ``"jpeg"``: nearly.

    Returns:
        The image files, in the probes' order.

    Raises:
        ProbeError: the folder holds something, or another format.

    Example::

        >>> probes = ProbeSet.from_arrays(np.zeros((1, 4, 4, 3), np.uint8))
        >>> [file.name for file in export_probes(probes, "exported")]
        ['00000-5a5bd7aa.png']
    """
    if image_format not in ("png", "jpeg"):
        raise ProbeError(f"image_format must be png or jpeg, got {image_format!r}")
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ProbeError(f"folder must be missing or empty, got {str(folder)!r}")
    folder.mkdir(parents=True, exist_ok=True)
    files, entries = [], []
    for index, image in enumerate(probes.images):
        file = folder / exported_name(index, image, image_format)
        file.write_bytes(encode_image(image, image_format))
        files.append(file)
        entries.append({"file": file.name, "image": image_key(image)})
    manifest = {
        "kind": MANIFEST_KIND,
        "format": 1,
        "probe_hash": probes.content_hash,
        "exact": image_format == "png",
        "images": entries,
    }
    with atomic_write(folder / MANIFEST) as handle:
        handle.write(json.dumps(manifest, indent=1).encode() + b"\n")
    return files


class ExportedNames:
    """Finds the probe of an exported file by the file's name.

    Args:
        probes: the probe set that was exported.
    """

    def __init__(self, probes: ProbeSet) -> None:
        self._digits = list(_digits(probes))

    def position(self, file: str) -> int:
        """Position of the probe.

        Args:
            file: file name, with or without folder and extension.

        Raises:
            ProbeError: no name of an exported file of these probes.
        """
        name = file.replace("\\", "/").rpartition("/")[2]
        match = _NAME.fullmatch(name)
        index = int(match[1]) if match else -1
        if match is None or index >= len(self._digits) or self._digits[index] != match[2]:
            shown = name if len(name) <= 80 else name[:80] + "…"
            raise ProbeError(f"file must be one that was exported from these {len(self._digits)} probes, got {shown!r}")
        return index


def _digits(probes: ProbeSet) -> Iterator[str]:
    return (image_key(image)[7:15] for image in probes.images)
