"""Read probes from a folder of image files."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import InitVar, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import FileFormatError, ProbeError
from ..io.choices import Fit, FolderLabels, Resample
from ..io.files import StrPath, file_size, is_inside, leads_into, open_regular
from ..io.hashing import sha256_stream
from ..io.progress import track
from .arguments import as_integer, check_choice, check_integer
from .committed_draw import committed_order, committed_record
from .image import FITS, RESAMPLES, fit_image, read_image
from .image_file import ImageBudget, TooMuchError, check_file_size, image_extensions

# Images, labels, source entry of the provenance, and its other entries.
Folder = tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64] | None, dict[str, Any], dict[str, Any]]


# Endings of images that no decoder here reads: they are counted by name.
_OTHER_IMAGES = {
    *(
        ".heic",
        ".heif",
        ".avif",
        ".jxl",
        ".jp2",
        ".j2k",
        ".svg",
        ".psd",
        ".exr",
        ".hdr",
        ".tga",
        ".ico",
        ".eps",
        ".pdf",
    ),
    *(".cr2", ".cr3", ".nef", ".arw", ".dng", ".orf", ".raf", ".rw2"),
}
_MAX_DEPTH = 32  # of a link to a folder; the system follows 40 links


@dataclass
class FolderOptions:
    """The options of `ProbeSet.from_folder`, checked.

    Attributes:
        target: height and width; None: no resize.
        The others: see `ProbeSet.from_folder`.
    """

    size: InitVar[tuple[int, int] | int | None]
    fit: Fit
    resample: Resample
    labels: FolderLabels
    limit: int | None
    seed: int | None
    commit_seed: str | None
    per_class: int | None
    skip_bad: bool
    progress: bool

    def __post_init__(self, size: tuple[int, int] | int | None) -> None:
        check_choice("fit", self.fit, FITS)
        check_choice("resample", self.resample, RESAMPLES)
        check_choice("labels", self.labels, ("none", "folder"))
        self.target = None if size is None else _check_size(size)
        self.limit = None if self.limit is None else check_integer("limit", self.limit, 1)
        self.seed = None if self.seed is None else check_integer("seed", self.seed, 0)
        self.per_class = None if self.per_class is None else check_integer("per_class", self.per_class, 1)
        limit, seed, labels = self.limit, self.seed, self.labels
        if self.commit_seed is not None and (seed is not None or (limit is None and self.per_class is None)):
            raise ProbeError(
                f"commit_seed must come with limit or per_class and without seed, got {limit=} and {seed=}"
            )
        if self.per_class is not None and (labels != "folder" or limit is not None):
            raise ProbeError(f'per_class must come with labels="folder" and without limit, got {labels=} and {limit=}')


def _check_size(size: tuple[int, int] | int) -> tuple[int, int]:
    sides = [as_integer(side) for side in (size if isinstance(size, Sequence) else (size, size))]
    height, width = sides if len(sides) == 2 else (None, None)
    if height is None or width is None or not (1 <= height <= 65535 and 1 <= width <= 65535):
        raise ProbeError(f"size must be one or two integers (H, W) from 1 to 65535, got {size!r}")
    return height, width


def read_folder(folder: StrPath, options: FolderOptions) -> Folder:
    """Images, labels and provenance for `ProbeSet.from_folder`."""
    limit, seed, per_class = options.limit, options.seed, options.per_class
    root = Path(folder)
    names, ignored = list_images(root)
    if not names:
        passed = ", ".join(f"{count:,} passed over: {what}" for what, count in ignored.items())
        raise ProbeError(
            f"folder {str(root)!r} must hold at least one image file, got none" + (f" ({passed})" if passed else "")
        )
    classes = class_names(root, names) if options.labels == "folder" else None
    source: dict[str, Any] = {"type": "folder", "name": root.resolve().name, "ignored": dict(ignored)}
    more: dict[str, Any] = {}
    count = len(names)
    if options.commit_seed is not None:
        hashes = hash_files(root, names, options.skip_bad, options.progress)
        names = [name for name in names if name in hashes]
        digests = [hashes[name] for name in names]
        order = [names[index] for index in committed_order(options.commit_seed, digests)]
        chosen = draw_names(order, limit, None, per_class, classes)
        record = committed_record(options.commit_seed, digests, len(chosen), whole=True)
        more["selection"] = [{**record, "per_class": per_class}]
    else:
        chosen = draw_names(names, limit, seed, per_class)
        if len(chosen) < count:
            source["drawn"] = {"of": count, "seed": seed} | ({} if per_class is None else {"per_class": per_class})
    images, hashed, skipped, converted = _decode(root, chosen, options)
    if converted:
        source["converted"] = converted
    source["images"] = [{"name": name, "sha256": digest} for name, digest in hashed.items()]
    if options.skip_bad:
        source["skipped"] = skipped
    if options.target is not None:
        more["resize"] = {"size": list(options.target), "fit": options.fit, "resample": options.resample}
    if classes is None:
        return images, None, source, more
    source["classes"] = classes
    return images, np.array([classes.index(name.split("/")[0]) for name in hashed], np.int64), source, more


def list_images(root: Path) -> tuple[list[str], Counter[str]]:
    """Relative POSIX names of the image files, sorted, and the counts of ignored files."""
    if not root.is_dir():
        raise ProbeError(f"folder must be an existing folder, got {str(root)!r}")
    extensions = image_extensions()
    names: list[str] = []
    ignored: Counter[str] = Counter()

    def refuse(error: OSError) -> None:
        raise ProbeError(f"cannot read folder {error.filename!r}: {error.strerror}") from error

    waiting = [root]
    while waiting:
        for place, folders, files in os.walk(waiting.pop(), onerror=refuse):
            folders[:] = [name for name in folders if not name.startswith(".")]
            waiting += [
                link for name in folders if os.path.islink(link := Path(place, name)) and _check_link(link, root)
            ]
            for name in files:
                path = Path(place, name)
                ending = path.suffix.lower()
                if name.startswith("."):
                    ignored["hidden files"] += 1
                elif ending not in extensions:
                    known = ending in _OTHER_IMAGES
                    ignored[f"images of a format that is not read ({ending})" if known else "other files"] += 1
                elif os.path.islink(path) and not is_inside(real := os.path.realpath(path), root):
                    raise ProbeError(f"image {str(path)!r} must lie in the folder, got a link to {real!r}")
                elif not path.is_file() and path.exists():
                    ignored["not regular files"] += 1
                else:  # broken links too, for which reading raises the error
                    names.append(path.relative_to(root).as_posix())
    return sorted(names), +ignored


def _check_link(link: Path, root: Path) -> bool:
    """Refuse a link to a folder outside, or to one that it lies in; any other is entered."""
    real = os.path.realpath(link)
    if not leads_into(link, root):
        raise ProbeError(f"folder {str(link)!r} must lie in {str(root)!r}, got a link to {real!r}")
    if leads_into(link.parent, link) or len(link.relative_to(root).parts) > _MAX_DEPTH:
        raise ProbeError(f"folder {str(link)!r} must not lead back to itself, got a link to {real!r}")
    return True


def class_names(root: Path, names: list[str]) -> list[str]:
    for name in names:
        if "/" not in name:
            raise ProbeError(f'labels="folder" needs every image in a sub-folder, got {name!r} in {str(root)!r}')
    return natural_order({name.split("/")[0] for name in names})


def natural_order(classes: Iterable[str]) -> list[str]:
    """Names in order: numbers by their value where all are numbers, else as text."""
    found = sorted(classes)
    numbers = all(name.isascii() and name.isdecimal() for name in found)
    return sorted(found, key=int) if numbers else found


def draw_names(
    names: list[str], limit: int | None, seed: int | None, per_class: int | None, classes: list[str] | None = None
) -> list[str]:
    """The first names, or a random draw; with ``per_class`` so many of each first sub-folder."""
    if per_class is not None:
        members: dict[str, list[str]] = {name: [] for name in classes or ()}
        for name in names:
            members.setdefault(name.split("/")[0], []).append(name)
        check_class_sizes({name: len(found) for name, found in members.items()}, per_class)
        chosen = {name for found in members.values() for name in draw_names(found, per_class, seed, None)}
        return [name for name in names if name in chosen]
    if limit is None or limit >= len(names):
        return names
    if seed is None:
        return names[:limit]
    drawn = np.random.default_rng(seed).choice(len(names), limit, replace=False)
    return [names[index] for index in sorted(drawn)]


def check_class_sizes(sizes: Mapping[Any, int], per_class: int) -> None:
    """Raise a ProbeError that names the classes with fewer than ``per_class`` images."""
    short = [f"{name!r} ({size})" for name, size in sorted(sizes.items()) if size < per_class]
    if short:
        shown = ", ".join(short[:5])
        raise ProbeError(f"every class must have at least {per_class} images, got fewer in {len(short)}: {shown}")


def hash_files(root: Path, names: list[str], skip_bad: bool, progress: bool) -> dict[str, str]:
    """SHA-256 by name of each readable file; without ``skip_bad`` an unreadable file is an error."""
    hashes = {}
    budget = ImageBudget(str(root))
    for name in track(names, "hashing images", enabled=progress):
        try:
            with open_regular(root / name) as handle:
                check_file_size(name, size := file_size(handle))
                budget.add(bytes=size)
                hashes[name] = sha256_stream(handle)
        except TooMuchError:
            raise
        except (FileFormatError, ProbeError, OSError) as error:
            if not skip_bad:
                raise ProbeError(str(error)) from error
    return hashes


def _decode(
    root: Path, names: list[str], options: FolderOptions
) -> tuple[npt.NDArray[np.uint8], dict[str, str], list[dict[str, str]], dict[str, int]]:
    """Images, hashes by name, what was skipped, and the number of images by mode that were not RGB."""
    budget = ImageBudget(str(root))
    arrays: list[npt.NDArray[np.uint8]] = []
    hashes: dict[str, str] = {}
    skipped: list[dict[str, str]] = []
    sizes: Counter[tuple[int, int]] = Counter()
    modes: Counter[str] = Counter()
    for name in track(names, "reading images", enabled=options.progress):
        try:
            image, digest = read_image(root / name, budget, root)
        except TooMuchError:
            raise
        except ProbeError as error:
            if not options.skip_bad:
                raise
            # The provenance has only relative names.
            skipped.append({"name": name, "reason": str(error).replace(str(root / name), name)})
            continue
        sizes[image.height, image.width] += 1
        modes[image.info["mode"]] += 1
        hashes[name] = digest
        # If sizes differ, reading goes on for the error message, which names all sizes.
        height, width = options.target or (image.height, image.width)
        budget.add(kept=3 * height * width)
        if options.target is not None:
            arrays.append(np.asarray(fit_image(image, options.target, options.fit, options.resample)))
        elif len(sizes) == 1:
            arrays.append(np.asarray(image))
    if not arrays:
        raise ProbeError(f"at least one image must be readable, got none of {len(names)}: {skipped[0]['reason']}")
    if options.target is None and len(sizes) > 1:
        shown = ", ".join(f"{h}×{w} ({count})" for (h, w), count in sizes.most_common(5))
        raise ProbeError(
            f"images must have one size, got {len(sizes)} sizes (H×W): {shown}{', …' if len(sizes) > 5 else ''}; "
            "name one (--image-size, size=) and how images fit it (--fit, fit=: crop, stretch or pad)"
        )
    return np.stack(arrays), hashes, skipped, {mode: count for mode, count in sorted(modes.items()) if mode != "RGB"}
