"""Probes from a folder of image files."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..container import StrPath
from ..errors import ProbeError
from ..progress import track
from .image import FITS, RESAMPLES, fit_image, image_extensions, image_formats, read_image

Folder = tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64] | None, dict[str, Any]]


def read_folder(
    folder: StrPath,
    *,
    size: tuple[int, int] | int | None,
    fit: str,
    resample: str,
    labels: str,
    limit: int | None,
    seed: int | None,
    progress: bool,
) -> Folder:
    """Images, labels and provenance of `ProbeSet.from_folder`, which documents the arguments."""
    target = _check_arguments(size, fit, resample, labels, limit)
    root = Path(folder)
    names, ignored = _list_images(root)
    if not names:
        raise ProbeError(f"folder {str(root)!r} must hold at least one image file, got none ({dict(ignored)})")
    classes = _class_names(root, names) if labels == "folder" else None
    chosen = _choose(names, limit, seed)
    images, hashes = _decode(root, chosen, target, fit, resample, progress)
    source: dict[str, Any] = {
        "type": "folder",
        "name": root.resolve().name,
        "ignored": dict(ignored),
        "images": [{"name": name, "sha256": digest} for name, digest in zip(chosen, hashes, strict=True)],
    }
    if limit is not None and limit < len(names):
        source["drawn"] = {"of": len(names), "seed": seed}
    provenance: dict[str, Any] = {"source": source}
    if target is not None:
        provenance["resize"] = {"size": list(target), "fit": fit, "resample": resample}
    if classes is None:
        return images, None, provenance
    source["classes"] = classes
    return images, np.array([classes.index(name.split("/")[0]) for name in chosen], np.int64), provenance


def _check_arguments(
    size: tuple[int, int] | int | None, fit: str, resample: str, labels: str, limit: int | None
) -> tuple[int, int] | None:
    for name, value, allowed in (
        ("fit", fit, FITS),
        ("resample", resample, RESAMPLES),
        ("labels", labels, ("none", "folder")),
    ):
        if value not in allowed:
            raise ProbeError(f"{name} must be one of {', '.join(allowed)}, got {value!r}")
    if limit is not None and limit < 1:
        raise ProbeError(f"limit must be at least 1, got {limit}")
    if size is None:
        return None
    target = (size, size) if isinstance(size, int) else tuple(size)
    if len(target) != 2 or not all(isinstance(side, int) and 1 <= side <= 65535 for side in target):
        raise ProbeError(f"size must be one or two integers (H, W) from 1 to 65535, got {size!r}")
    return target


def _list_images(root: Path) -> tuple[list[str], Counter[str]]:
    """Relative POSIX names of the image files, sorted, and the counts of what was left aside."""
    if not root.is_dir():
        raise ProbeError(f"folder must be an existing folder, got {str(root)!r}")
    extensions = image_extensions()
    inside = root.resolve()
    names: list[str] = []
    ignored: Counter[str] = Counter()

    def refuse(error: OSError) -> None:
        raise ProbeError(f"cannot read folder {error.filename!r}: {error.strerror}") from error

    for place, folders, files in os.walk(root, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        ignored["linked folders"] += sum(os.path.islink(os.path.join(place, name)) for name in folders)
        for name in files:
            path = Path(place, name)
            if name.startswith("."):
                continue
            if path.suffix.lower() not in extensions:
                ignored["other files"] += 1
            elif not (real := Path(os.path.realpath(path))).is_relative_to(inside):
                raise ProbeError(f"image {str(path)!r} must lie in the folder, got a link to {str(real)!r}")
            elif not path.is_file() and path.exists():
                ignored["not regular files"] += 1
            else:  # a broken link too: reading it says so
                names.append(path.relative_to(root).as_posix())
    return sorted(names), +ignored


def _class_names(root: Path, names: list[str]) -> list[str]:
    for name in names:
        if "/" not in name:
            raise ProbeError(f'labels="folder" needs every image in a sub-folder, got {name!r} in {str(root)!r}')
    return sorted({name.split("/")[0] for name in names})


def _choose(names: list[str], limit: int | None, seed: int | None) -> list[str]:
    if limit is None or limit >= len(names):
        return names
    if seed is None:
        return names[:limit]
    drawn = np.random.default_rng(seed).choice(len(names), limit, replace=False)
    return [names[index] for index in sorted(drawn)]


def _decode(
    root: Path, names: list[str], size: tuple[int, int] | None, fit: str, resample: str, progress: bool
) -> tuple[npt.NDArray[np.uint8], list[str]]:
    formats = image_formats()
    arrays: list[npt.NDArray[np.uint8]] = []
    hashes: list[str] = []
    sizes: Counter[tuple[int, int]] = Counter()
    for name in track(names, "reading images", enabled=progress):
        image, digest = read_image(root / name, formats)
        sizes[image.height, image.width] += 1
        hashes.append(digest)
        # Once sizes differ the pixels are of no use, but the message shall name all sizes.
        if size is not None:
            arrays.append(np.asarray(fit_image(image, size, fit, resample)))
        elif len(sizes) == 1:
            arrays.append(np.asarray(image))
    if size is None and len(sizes) > 1:
        shown = ", ".join(f"{h}×{w} ({count})" for (h, w), count in sizes.most_common(5))
        raise ProbeError(
            f"images must have one size, got {len(sizes)} sizes (H×W): {shown}"
            f"{', …' if len(sizes) > 5 else ''}; "
            'pass size=(H, W) and fit="crop", "stretch" or "pad"'
        )
    return np.stack(arrays), hashes
