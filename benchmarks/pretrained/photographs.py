"""Photographs from installed packages and Debian packages, cut into images of 224×224 for three sides.

A photograph serves one side alone: probes, held-out images (for the agreement with a source), or the thief's training
images. Cut-out photographs of things (the stamps of Tux Paint) are pasted onto pieces of photographs of their side.
"""

from __future__ import annotations

import functools
import hashlib
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sac_fast.errors import SacFastError
from sac_fast.labelled_zoo.photographs import PHOTOGRAPHS, read_photograph

SIDE = 224  # pixels
#: Debian package -> folders with photographs; drawn wallpapers are left out.
DEBIAN: dict[str, tuple[str, ...]] = {
    "lomiri-wallpapers-16.04": ("usr/share/backgrounds",),
    "lomiri-wallpapers-20.04": ("usr/share/backgrounds",),
    "mate-backgrounds": ("usr/share/backgrounds/mate/nature",),
}
STAMPS = "tuxpaint-stamps-default"
_STAMPS_FOLDER = "usr/share/tuxpaint/stamps"
_DRAWN = ("symbols", "people", "cartoon", "alphabets")
SIDES = ("probes", "held-out", "training")
_SHARES = (0.35, 0.15, 0.5)
COUNTS = {"probes": 500, "held-out": 128, "training": 384}
# Of the opaque pixels of a photograph at least this share have colours of their own; drawings have few colours.
_MIN_COLOURS = 0.2
_MIN_STAMP = 60  # pixels
_MIN_SPREAD = 12.0  # standard deviation of the pixels of a crop
_MIN_KIND = 10  # stamps of a kind, to be a class of its own


@dataclass(frozen=True)
class Side:
    """Images of one side.

    Attributes:
        images: (n, 224, 224, 3) uint8.
        kinds: (n,) int64: the kind of thing on it, -1 without one.
        kind_names: of the classes.
    """

    images: NDArray[np.uint8]
    kinds: NDArray[np.int64]
    kind_names: tuple[str, ...]


def fetch(folder: Path) -> None:
    """Download the Debian packages with apt-get and unpack them; nothing is installed, what is there is kept.

    Raises:
        SacFastError: a package cannot be downloaded.
    """
    for package in (*DEBIAN, STAMPS):
        target = folder / package
        if (target / "usr").is_dir():
            continue
        target.mkdir(parents=True, exist_ok=True)
        try:
            subprocess.run(["apt-get", "download", package], cwd=target, check=True, capture_output=True)
            (archive,) = target.glob("*.deb")
            subprocess.run(["dpkg-deb", "-x", archive.name, "."], cwd=target, check=True, capture_output=True)
        except (OSError, subprocess.SubprocessError) as error:
            raise SacFastError(f"the Debian package {package} must be there for apt-get, got: {error}") from error
        archive.unlink()


def read_photographs(folder: Path) -> list[NDArray[np.uint8]]:
    """The photographs of scikit-image, scikit-learn and the wallpapers, in a fixed order."""
    found = [read_photograph(name) for name in PHOTOGRAPHS]
    for package, inside in DEBIAN.items():
        for part in inside:
            for path in sorted((folder / package / part).rglob("*.jpg")):
                with Image.open(path) as picture:
                    picture.thumbnail((1600, 1600))
                    found.append(np.asarray(picture.convert("RGB")))
    return found


def read_stamps(folder: Path) -> list[tuple[str, Image.Image]]:
    """Cut-out photographs with the kind of thing, such as ``animals/birds``, in a fixed order."""
    root = folder / STAMPS / _STAMPS_FOLDER
    found = []
    for path in sorted(root.rglob("*.png")):
        parts = path.relative_to(root).parts
        if any(part in _DRAWN for part in parts):
            continue
        with Image.open(path) as picture:
            stamp = picture.convert("RGBA")
        if min(stamp.size) >= _MIN_STAMP and _is_photograph(np.asarray(stamp)):
            found.append(("/".join(parts[:2]) if len(parts) > 2 else parts[0], stamp))
    if not found:
        raise SacFastError(f"{STAMPS} must have pictures in {str(root)!r}, got none")
    return found


def _is_photograph(pixels: NDArray[np.uint8]) -> bool:
    opaque = pixels[pixels[..., 3] > 128][:, :3]
    colours = opaque.astype(np.int64) @ np.array([1 << 16, 1 << 8, 1])
    return len(opaque) > 0 and len(np.unique(colours)) >= _MIN_COLOURS * len(opaque)


def make_sides(folder: Path, seed: int = 0) -> dict[str, Side]:
    """Cut the images of all sides.

    Args:
        folder: where `fetch` unpacked the packages.
        seed: of the division and of all crops.

    Returns:
        By name of the side.
    """
    generator = np.random.default_rng(seed)
    cut = _Cutter.of(folder, generator)
    return {side: cut.side(side, COUNTS[side], generator) for side in SIDES}


def make_queries(folder: Path, count: int, seed: int = 0) -> NDArray[np.uint8]:
    """More images of the thief's side, cut from the same photographs: (count, 224, 224, 3)."""
    cut = _Cutter.of(folder, np.random.default_rng(seed))
    return cut.side("training", count, np.random.default_rng((seed, 1))).images


def crops(folder: Path, count: int, seed: Sequence[int], sides_seed: int = 0) -> NDArray[np.uint8]:
    """Some new images of the thief's side: (count, 224, 224, 3).

    Args:
        folder: where `fetch` unpacked the packages.
        count: of images.
        seed: of the photographs and the places of the crops.
        sides_seed: that of `make_sides`.
    """
    generator = np.random.default_rng(seed)
    return _cutter(folder, sides_seed).shuffled(generator).side("training", count, generator).images


@dataclass(frozen=True)
class _Cutter:
    """Photographs, stamps with their kinds, and the side that each serves."""

    photographs: list[NDArray[np.uint8]]
    stamps: list[tuple[str, Image.Image]]
    of_photographs: NDArray[np.int64]
    of_stamps: NDArray[np.int64]

    @classmethod
    def of(cls, folder: Path, generator: np.random.Generator) -> _Cutter:
        """All there is, divided at random."""
        photographs, stamps = read_photographs(folder), read_stamps(folder)
        return cls(photographs, stamps, assign_sides(len(photographs), generator), assign_sides(len(stamps), generator))

    def shuffled(self, generator: np.random.Generator) -> _Cutter:
        """The same with photographs and stamps in another order."""
        first, second = generator.permutation(len(self.photographs)), generator.permutation(len(self.stamps))
        return _Cutter(
            [self.photographs[i] for i in first], [self.stamps[i] for i in second], self.of_photographs[first],
            self.of_stamps[second],
        )  # fmt: skip

    def side(self, side: str, count: int, generator: np.random.Generator) -> Side:
        """So many images of one side."""
        kinds = [kind for kind, _ in self.stamps]
        names = tuple(sorted({kind for kind in kinds if kinds.count(kind) >= _MIN_KIND}))
        backgrounds = [self.photographs[i] for i in np.flatnonzero(self.of_photographs == SIDES.index(side))]
        things = [self.stamps[i] for i in np.flatnonzero(self.of_stamps == SIDES.index(side))]
        images, labels = [], []
        for number in range(count):
            image = crop(backgrounds[number % len(backgrounds)], generator)
            label = -1
            # Every third image is a piece of a photograph alone.
            if number % 3 != 2:
                kind, stamp = things[(number - number // 3) % len(things)]
                image, label = paste(image, stamp, generator), names.index(kind) if kind in names else -1
            images.append(image)
            labels.append(label)
        return Side(np.stack(images), np.array(labels, dtype=np.int64), names)


@functools.cache
def _cutter(folder: Path, seed: int) -> _Cutter:
    return _Cutter.of(folder, np.random.default_rng(seed))


def assign_sides(count: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """The side of each of ``count`` photographs: (count,) indices into ``SIDES``, in random order."""
    bounds = np.round(np.cumsum(_SHARES) * count).astype(np.int64)
    return generator.permutation(np.searchsorted(bounds, np.arange(count), side="right")).astype(np.int64)


def crop(photograph: NDArray[np.uint8], generator: np.random.Generator) -> NDArray[np.uint8]:
    """A random square of a photograph, 30 to 100 % of its shorter side, as (224, 224, 3)."""
    height, width = photograph.shape[:2]
    for _ in range(20):
        side = int(min(height, width) * generator.uniform(0.3, 1.0))
        top, left = int(generator.integers(height - side + 1)), int(generator.integers(width - side + 1))
        piece = photograph[top : top + side, left : left + side]
        if piece.std() >= _MIN_SPREAD:
            break
    return np.asarray(Image.fromarray(piece).resize((SIDE, SIDE), Image.Resampling.BICUBIC))


def paste(image: NDArray[np.uint8], stamp: Image.Image, generator: np.random.Generator) -> NDArray[np.uint8]:
    """The image with a cut-out photograph on it, its longer side 55 to 95 % of the image's, mirrored at random."""
    scale = SIDE * generator.uniform(0.55, 0.95) / max(stamp.size)
    size = tuple(max(1, round(edge * scale)) for edge in stamp.size)
    thing = stamp.resize(size, Image.Resampling.BICUBIC)  # type: ignore[arg-type]
    if generator.random() < 0.5:
        thing = thing.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    canvas = Image.fromarray(image)
    corner = tuple(int(generator.integers(SIDE - edge + 1)) for edge in size)
    canvas.paste(thing, corner, thing)  # type: ignore[arg-type]
    return np.asarray(canvas)


def hash_images(images: Sequence[NDArray[np.uint8]] | NDArray[np.uint8]) -> str:
    """SHA-256 of the pixels, to see whether the same images were cut again."""
    return "sha256:" + hashlib.sha256(np.ascontiguousarray(images).tobytes()).hexdigest()
