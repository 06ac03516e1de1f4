"""ProbeSet: the images on which models are compared, with provenance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import FileFormatError, ProbeError
from ..io.choices import Fit, FolderLabels, JpegEngine, Resample, Subsampling
from ..io.container import load_container, save_container
from ..io.files import StrPath
from ..io.hashing import content_hash
from ..io.html import html_pairs
from .arguments import as_integer
from .arrays import Layout, array_source, read_hdf5, to_labels, to_numpy, to_pixels
from .contact_sheet import draw_images
from .engines import compress
from .folder import FolderOptions, read_folder
from .jpeg import Levels, Pixels, engine_versions, resolve_qualities
from .provenance import check_provenance, image_entries, json_copy, normal_provenance, select_images, step_versions


@dataclass(frozen=True, eq=False)
class ProbeSet:
    """Probe images, read-only, with labels if known and with provenance.

    Attributes:
        images: uint8 ``(n, H, W, 3)``, RGB, C-contiguous, read-only.
        labels: int64 ``(n,)``, or None.
        provenance: JSON values from which the images can be made again (see `sac_fast.probes.provenance`): ``kind`` (of
            the last step, ``"normal"`` without one), ``source`` (with name and SHA-256 of every source image),
            ``resize``, ``selection``, ``augmentation`` (steps with engine, exactness, versions), ``versions``.

    Example::

        >>> import numpy as np
        >>> probes = ProbeSet.from_arrays(np.full((2, 16, 16, 3), 128, np.uint8), labels=[0, 1])
        >>> compressed = probes.jpeg(severity=[1, 3])
        >>> len(compressed), compressed.labels.tolist(), compressed.provenance["kind"]
        (4, [0, 1, 0, 1], 'jpeg')
    """

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64] | None
    provenance: dict[str, Any]

    def __post_init__(self) -> None:
        images, labels = self.images, self.labels
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3 or 0 in images.shape:
            raise ProbeError(f"images must be uint8 (n, H, W, 3), none of them 0, got {images.dtype} {images.shape}")
        if labels is not None and (labels.dtype != np.int64 or labels.shape != images.shape[:1]):
            raise ProbeError(f"labels must be int64 ({len(images)},), got {labels.dtype} {labels.shape}")
        object.__setattr__(self, "images", _frozen(images))
        object.__setattr__(self, "labels", None if labels is None else _frozen(labels))
        object.__setattr__(self, "provenance", json_copy(self.provenance, ProbeError))

    @cached_property
    def content_hash(self) -> str:
        """``"sha256:..."`` of pixels and labels (not of the provenance), as recorded in fingerprints."""
        return content_hash(self._arrays)

    @property
    def _arrays(self) -> dict[str, Any]:
        arrays = {"images": self.images, "labels": self.labels}
        return {name: array for name, array in arrays.items() if array is not None}

    def __len__(self) -> int:
        return len(self.images)

    def shapes(self) -> dict[str, Any]:
        """Height and width, as fingerprints record them."""
        return {"size": list(self.images.shape[1:3])}

    def __repr__(self) -> str:
        n, height, width, _ = self.images.shape
        kind = self.provenance.get("kind", "?")
        return f"ProbeSet({n} images of {height}×{width}, {kind!r}, {self.content_hash[:19]}…)"

    def _repr_html_(self) -> str:
        """A table for notebooks."""
        return html_pairs(repr(self), {"probe hash": self.content_hash, "kind": self.provenance.get("kind")})

    def plot(self, path: StrPath | None = None) -> Any:
        """Draw up to 48 of the images, evenly spaced, with position and label.

        Args:
            path: PNG that is written, replaced if it is there; None: none.

        Returns:
            The matplotlib figure.

        Raises:
            FigureError: matplotlib is not installed.
        """
        return draw_images(self.images, self.labels, path)

    @classmethod
    def from_folder(
        cls,
        folder: StrPath,
        *,
        size: tuple[int, int] | int | None = None,
        fit: Fit = "crop",
        resample: Resample = "bilinear",
        labels: FolderLabels = "none",
        limit: int | None = None,
        seed: int | None = None,
        commit_seed: str | None = None,
        per_class: int | None = None,
        skip_bad: bool = False,
        progress: bool = False,
    ) -> ProbeSet:
        """Probes from all image files of a folder and its sub-folders, in the order of their names.

        Image files have an extension of a format that Pillow decodes (without EPS and PS, which run Ghostscript).
        Other files, pipes, devices and hidden files are ignored and counted in the provenance by reason, images of
        formats that are not read by their ending. Links are followed inside the folder (and from a snapshot of a model
        hub to its blobs). An unreadable image file is an error. `sac_fast.probes.image.read_image`
        defines the conversion to 8-bit RGB (first frame, EXIF orientation applied, alpha dropped, high byte of 16-bit
        samples).

        Args:
            folder: the folder.
            size: ``(H, W)`` or the side of a square, in pixels. Default: no resize; all images must have one size.
            fit: ``"crop"`` (centre), ``"stretch"`` or ``"pad"`` (black) for images of another aspect ratio.
            resample: ``"nearest"``, ``"box"``, ``"bilinear"``, ``"hamming"``, ``"bicubic"`` or ``"lanczos"``.
            labels: ``"folder"``: the index of the first sub-folder among the names in order (numbers by value);
                ``"none"``.
            limit: largest number of images: the first ones, or with ``seed`` a random draw, in order of names.
            seed: seed of the draw.
            commit_seed: instead of ``seed``: draw ``limit`` images by `sac_fast.probes.committed_draw`, in that order.
            per_class: number of images of each class (labels="folder"), instead of ``limit``.
            skip_bad: list unreadable images in the provenance (``source.skipped``, with the reason) instead of raising
                an error; they are not replaced in a draw.
            progress: show a progress bar on stderr.

        Returns:
            The probes.

        Raises:
            ProbeError: no image, an unreadable one, a link out of the folder or in circles, mixed sizes without
                ``size``, a class with too few images, or a wrong argument.
        """
        options = FolderOptions(
            size, fit, resample, labels, limit, seed, commit_seed, per_class, skip_bad=skip_bad, progress=progress
        )
        images, numbers, source, more = read_folder(folder, options)
        return cls(images, numbers, normal_provenance(source, engine_versions(), **more))

    @classmethod
    def from_arrays(
        cls, images: Any, labels: Any = None, *, layout: Layout | None = None, name: str = "arrays"
    ) -> ProbeSet:
        """Probes from images in memory.

        Args:
            images: NumPy array or torch tensor, ``(n, H, W, C)`` or ``(n, C, H, W)``, C = 3 (RGB) or 1 (repeated),
                uint8, or float in 0..1, of which every k / 255 becomes k (``255 x`` rounded to the nearest).
            labels: ``(n,)`` integers, or None.
            layout: ``"NHWC"`` or ``"NCHW"``. Default: inferred from the shape, an error if ambiguous.
            name: name of the source in the provenance.

        Returns:
            The probes.

        Raises:
            ProbeError: wrong shape, dtype or values, an ambiguous layout, or labels of the wrong shape.
        """
        array = to_numpy(images, "images")
        pixels, done = to_pixels(array, layout, "images")
        numbers = None if labels is None else to_labels(labels, len(pixels), "labels")
        return cls(pixels, numbers, normal_provenance(array_source(array, done, type="arrays", name=name)))

    @classmethod
    def from_hdf5(cls, path: StrPath, *, layout: Layout | None = None, limit: int | None = None) -> ProbeSet:
        """Probes from an HDF5 file of the reference scripts: ``/data`` and, if present, ``/label``.

        Args:
            path: HDF5 file; ``/data`` as for `from_arrays`, ``/label`` ``(n,)``; both in the file itself, not linked.
            layout: as for `from_arrays`.
            limit: largest number of images, the first ones.

        Returns:
            The probes.

        Raises:
            FileFormatError: not a readable HDF5 file.
            ProbeError: no ``/data``, a link, or values, shapes or dtypes that are not images.
        """
        array, labels, source = read_hdf5(path, layout, limit)
        pixels, done = to_pixels(array, layout, "/data")
        numbers = None if labels is None else to_labels(labels, len(pixels), "/label")
        return cls(pixels, numbers, normal_provenance(array_source(array, done, **source)))

    def jpeg(
        self,
        *,
        quality: Levels = None,
        severity: Levels = None,
        subsampling: Subsampling = "4:2:0",
        engine: JpegEngine | None = None,
        device: str = "cpu",
    ) -> ProbeSet:
        """SAC-JC probes: each image compressed to JPEG and decoded again.

        Args:
            quality: JPEG quality, 1..100, or a list of distinct ones: all images with the first, then all with the
                second, …; or
            severity: 1..5, quality 25, 18, 15, 10, 7 (Hendrycks & Dietterich 2019), or a list.
            subsampling: chroma subsampling, ``"4:4:4"``, ``"4:2:2"`` or ``"4:2:0"``.
            engine, device: see `sac_fast.probes.engines.compress`. Default: the exact op of this package if it is
                compiled, else Pillow. The engine and its exactness are recorded.

        Returns:
            New probes with the same labels.

        Raises:
            ProbeError: not exactly one of quality and severity, a wrong value, or a missing engine.

        Source: Guan et al., arXiv 2412.20768 (SAC-JC).
        """
        qualities = resolve_qualities(quality, severity)
        several = len(qualities) > 1
        base = self.subset(np.tile(np.arange(len(self)), len(qualities))) if several else self
        levels = np.repeat(qualities, len(self)).tolist()
        images, used = compress(base.images, levels, subsampling, engine, device)
        used["versions"] = step_versions(**engine_versions()) | used["versions"]
        step = {
            "kind": "jpeg",
            "quality": qualities if several else qualities[0],
            "severity": [int(one) for one in severity] if isinstance(severity, Sequence) else as_integer(severity),
            "subsampling": subsampling,
            **used,
            "of": base.content_hash,
        }
        return base.augmented(images, step, [{"quality": level} for level in levels] if several else None)

    def transpose(self) -> ProbeSet:
        """Height and width of each image exchanged, called "flip" by the reference scripts."""
        step = {"kind": "transpose", "engine": "numpy", "exact": True, "versions": step_versions()}
        return self.augmented(self.images.transpose(0, 2, 1, 3), step)

    def augmented(self, images: Pixels, step: dict[str, Any], each: list[dict[str, Any]] | None = None) -> ProbeSet:
        """Probes with new pixels and the step that made them; ``each``: parameters of the step for each image."""
        if len(images) != len(self) or (each is not None and len(each) != len(self)):
            raise ProbeError(f"images and each must be {len(self)} like the probes, got {len(images)}")
        steps = [*self.provenance.get("augmentation", []), step if each is None else {**step, "each": each}]
        provenance = {**self.provenance, "kind": step["kind"], "augmentation": steps}
        return ProbeSet(images, self.labels, provenance)

    def entries(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        """Name and SHA-256 of the source images at these positions, with their parameters of each step."""
        return image_entries(self.provenance, len(self), indices)

    def subset(self, indices: Sequence[int] | npt.NDArray[np.int64], *, how: dict[str, Any] | None = None) -> ProbeSet:
        """The probes at these positions, in this order.

        Args:
            indices: ``(m,)`` integers in 0..n-1, m at least 1; they may repeat.
            how: entry for ``selection`` in the provenance. Default: ``{"kind": "subset", "of": n}`` if images are left
                out, else no entry.

        Returns:
            New probes, with only their own source images in the provenance.

        Raises:
            ProbeError: an index outside 0..n-1, or none.
        """
        chosen = to_numpy(indices, "indices")
        if chosen.ndim != 1 or chosen.dtype.kind not in "iu" or not len(chosen):
            raise ProbeError(f"indices must be a list of integers, got {chosen.dtype} {chosen.shape}")
        if chosen.min() < 0 or chosen.max() >= len(self):
            raise ProbeError(f"indices must be in 0..{len(self) - 1}, got {chosen.min()}..{chosen.max()}")
        provenance = select_images(self.provenance, len(self), chosen.tolist())
        if how is None and len(np.unique(chosen)) < len(self):
            how = {"kind": "subset", "of": len(self)}
        if how is not None:
            provenance["selection"] = [*provenance.get("selection", []), how]
        labels = None if self.labels is None else self.labels[chosen]
        return ProbeSet(self.images[chosen], labels, provenance)

    def save(self, path: StrPath) -> None:
        """Write pixels, labels, provenance and hashes to one safetensors file, atomically.

        Raises:
            OSError: the folder does not exist or cannot be written to.
        """
        metadata = {"content_hash": self.content_hash, "provenance": self.provenance}
        save_container(path, "probes", self._arrays, metadata)

    @classmethod
    def load(cls, path: StrPath) -> ProbeSet:
        """Read a file written by `save` and check all hashes.

        Raises:
            FileFormatError: damaged, truncated, or not a probe file.
        """
        arrays, metadata = load_container(path, "probes")
        try:
            check_provenance(metadata["provenance"])
            probes = cls(arrays.pop("images"), arrays.pop("labels", None), metadata["provenance"])
            if arrays:
                raise ValueError(f"arrays {sorted(arrays)}")
        except (KeyError, ValueError) as error:
            raise FileFormatError(f"{str(path)!r} must hold a probe set, got {error}") from error
        if probes.content_hash != metadata.get("content_hash"):
            wanted = metadata.get("content_hash")
            raise FileFormatError(f"{str(path)!r} must hold probes with the hash {wanted}, got {probes.content_hash}")
        return probes


def _frozen(array: Any) -> Any:
    """C-contiguous, read-only copy; a view would change with its base."""
    array = np.array(array, order="C")
    array.flags.writeable = False
    return array
