"""NVIDIA DALI: decode, resize and JPEG distortion as one pipeline, on the CPU or a GPU.

The bytes are read and hashed here and passed to DALI, so that the SHA-256 and the name of every image are known. DALI
decodes, resizes and distorts with several batches prefetched. CPU pipelines need no GPU. DALI's CPU decoders and its
CPU JPEG distortion give Pillow's pixels bit for bit for the files that `sac_fast.probes.dali_header` lets through; its
resize does not. The GPU path follows DALI's documentation and
has not yet run on a GPU.
"""

from __future__ import annotations

import importlib.util
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..errors import ProbeError
from ..io.choices import Fit, FolderLabels, Resample, Subsampling
from ..io.files import StrPath
from ..io.lazy import LazyModule
from ..io.progress import track
from .arguments import check_integer, import_optional
from .dali_header import check_header
from .image import FITS
from .image_file import ImageBudget, TooMuchError
from .items import Item, list_items
from .jpeg import Pixels, resolve_quality

if TYPE_CHECKING:
    import torch
    import torch.utils.dlpack
else:  # reading probes needs no torch
    torch = LazyModule("torch")

RESAMPLES = {"nearest": "INTERP_NN", "bilinear": "INTERP_TRIANGULAR", "bicubic": "INTERP_CUBIC"}
RESAMPLES["lanczos"] = "INTERP_LANCZOS3"
_BATCH = 64

Group = list[tuple[Item, bytes, str]]


class DaliBatch(NamedTuple):
    """A batch of images of one size with their origin.

    Attributes:
        images: uint8 ``(b, H, W, 3)``, RGB, on the loader's device; memory of DALI, not a copy.
        names: b names, as `Item.name`.
        hashes: SHA-256 of the b encoded images.
        labels: b labels, None for images without one.

    Example::

        >>> import torch
        >>> DaliBatch(torch.zeros(1, 8, 8, 3, dtype=torch.uint8), ["a.png"], ["sha256:aa"], [None]).names
        ['a.png']
    """

    images: torch.Tensor
    names: list[str]
    hashes: list[str]
    labels: list[int | None]


def missing_dali() -> str | None:
    """Why DALI cannot be used and which extra to install; None if it can."""
    if importlib.util.find_spec("nvidia") is None or importlib.util.find_spec("nvidia.dali") is None:
        return "DALI is not installed: pip install 'sac-fast[dali]'"
    return None


def version() -> str:
    """DALI's version."""
    return str(_dali("nvidia.dali").__version__)


def _dali(module: str) -> Any:
    return import_optional(module, "engine 'dali'", missing_dali())


def _device_id(device: str) -> int | None:
    place = torch.device(device)
    if place.type == "cpu":
        return None
    if place.type != "cuda" or not torch.cuda.is_available():
        raise ProbeError(f'device must be "cpu" or a CUDA device that is here, got {device!r}')
    return place.index or 0


def _pipeline(
    feed: Callable[[], Any], steps: Callable[[Any, Any, Any], Any], *, batch: int, device: str, threads: int, ahead: int
) -> Any:
    """A built pipeline: ``steps(fn, types, fed samples)``."""
    dali, fn, types = _dali("nvidia.dali"), _dali("nvidia.dali.fn"), _dali("nvidia.dali.types")
    pipe = dali.Pipeline(
        batch_size=batch, num_threads=threads, device_id=_device_id(device), prefetch_queue_depth=ahead, seed=0
    )
    with pipe:
        pipe.set_outputs(steps(fn, types, feed))
    pipe.build()
    return pipe


def jpeg_distort(images: Pixels, qualities: Sequence[int], subsampling: Subsampling, device: str) -> Pixels:
    """DALI's ``jpeg_compression_distortion``: Pillow's pixels on the CPU, an approximation on a GPU."""
    if subsampling != "4:2:0":
        raise ProbeError(f"subsampling must be 4:2:0 for the engine dali, which has no other, got {subsampling!r}")
    starts = iter(range(0, len(images), _BATCH))

    def feed() -> Any:
        start = next(starts)
        some = [np.array([quality], np.int32) for quality in qualities[start : start + _BATCH]]
        return [np.ascontiguousarray(image) for image in images[start : start + _BATCH]], some

    def steps(fn: Any, types: Any, source: Any) -> Any:
        pixels, quality = fn.external_source(source, num_outputs=2, batch=True, layout=["HWC", ""])
        pixels = pixels if torch.device(device).type == "cpu" else pixels.gpu()
        return fn.jpeg_compression_distortion(pixels, quality=fn.reshape(quality, shape=[]))

    pipe = _pipeline(feed, steps, batch=_BATCH, device=device, threads=max(1, torch.get_num_threads()), ahead=2)
    result = np.empty(images.shape, np.uint8)
    for start in range(0, len(images), _BATCH):
        (out,) = pipe.run()
        result[start : start + _BATCH] = torch.utils.dlpack.from_dlpack(out.as_tensor()).cpu().numpy()
    return result


class DaliLoader:
    """Batches of decoded, resized and, if asked, JPEG-compressed images from a DALI pipeline.

    Args:
        source: see `sac_fast.probes.items.list_items`: a folder, a file list, WebDataset tars.
        size: ``(H, W)`` or one side of a square, in pixels.
        fit: ``"crop"``, ``"stretch"`` or ``"pad"``, as `ProbeSet.from_folder`.
        resample: ``"nearest"``, ``"bilinear"``, ``"bicubic"`` or ``"lanczos"``, with antialiasing, DALI's own.
        quality: JPEG quality 1..100 (4:2:0) to compress with after the resize; None: none.
        labels: see `list_items`.
        device: ``"cpu"``, or a CUDA device (decoders ``"mixed"`` with ``hw_decoder_load=0`` and fancy upsampling).
        batch_size: images per batch; the last one may be smaller.
        threads: number of DALI's threads. Default: that of torch.
        prefetch: batches that DALI prefetches (their files are read when DALI requests them).
        rank, world_size: this process takes the images rank, rank + world_size, … of the source.
        skip_bad: list images that cannot be decoded in `skipped`, instead of raising an error.
        progress: show a progress bar on stderr.

    Attributes:
        type: ``"folder"``, ``"file list"`` or ``"webdataset"``.
        items: this rank's images.
        classes: names of the classes, or None.
        total: number of images of all ranks.
        skipped: ``{"name", "reason"}`` of each image skipped so far.

    Raises:
        ProbeError: DALI is not installed (``pip install 'sac-fast[dali]'``), a wrong argument or an empty source;
            while iterating, an image that cannot be decoded, by name.

    Example::

        >>> import os
        >>> from PIL import Image
        >>> os.mkdir("images")
        >>> Image.new("RGB", (300, 300)).save("images/1.png")
        >>> for batch in DaliLoader("images", size=224):
        ...     print(batch.images.shape)
        torch.Size([1, 224, 224, 3])
    """

    def __init__(
        self,
        source: StrPath | Sequence[StrPath] | list[Item],
        *,
        size: tuple[int, int] | int,
        fit: Fit = "crop",
        resample: Resample = "bilinear",
        quality: int | None = None,
        labels: FolderLabels = "none",
        device: str = "cpu",
        batch_size: int = _BATCH,
        threads: int | None = None,
        prefetch: int = 2,
        rank: int = 0,
        world_size: int = 1,
        skip_bad: bool = False,
        progress: bool = False,
    ) -> None:
        _dali("nvidia.dali")
        for name, value, allowed in (("fit", fit, FITS), ("resample", resample, tuple(RESAMPLES))):
            if value not in allowed:
                raise ProbeError(f"{name} must be one of {', '.join(allowed)} for DALI, got {value!r}")
        for name, number in (("batch_size", batch_size), ("prefetch", prefetch), ("world_size", world_size)):
            check_integer(name, number, 1)
        if not 0 <= rank < world_size:
            raise ProbeError(f"rank must be in 0..{world_size - 1}, got {rank}")
        if isinstance(source, list) and source and isinstance(source[0], Item):
            self.type, items, self.classes = "items", list(source), None
        else:
            self.type, items, self.classes = list_items(source, labels)  # type: ignore[arg-type]  # paths here
        self.total, self.items = len(items), items[rank::world_size]
        if not self.items:
            raise ProbeError(f"source must hold an image for each of {world_size} ranks, got {self.total}")
        self.size = (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))
        self.fit, self.resample, self.device = fit, resample, device
        self.quality = None if quality is None else resolve_quality(quality, None)
        self.batch_size, self.prefetch, self.progress = batch_size, prefetch, progress
        self.threads = threads or max(1, torch.get_num_threads())
        self.skip_bad = skip_bad
        self.skipped: list[dict[str, str]] = []

    def __len__(self) -> int:
        return (len(self.items) + self.batch_size - 1) // self.batch_size

    def __iter__(self) -> Iterator[DaliBatch]:
        self.skipped = []
        items = track(self.items, "decoding images", enabled=self.progress)
        with closing(items):  # type: ignore[type-var]  # a generator, whose bar disappears when it is closed
            pending: Iterator[Group] = self._groups(items)
            while (bad := (yield from self._run(pending))) is not None:
                good, suspects = [], bad
                for entry in suspects:
                    reason = self._decode_error(entry)
                    if reason is None:
                        good.append(entry)
                    else:
                        self._skip_or_raise(entry[0], reason)
                if len(good) == len(suspects):
                    raise ProbeError(f"DALI failed on a batch of which it decodes every image: {suspects[0][0].name!r}")
                sized = [good[i : i + self.batch_size] for i in range(0, len(good), self.batch_size)]
                pending = chain(sized, pending)

    def _groups(self, items: Iterable[Item]) -> Iterator[Group]:
        group: Group = []
        budget = ImageBudget(self.type)
        for item in items:
            try:
                data, digest = item.read()
                check_header(item, data, budget)
            except TooMuchError:
                raise
            except ProbeError as error:
                self._skip_or_raise(item, str(error), error)
                continue
            group.append((item, data, digest))
            if len(group) == self.batch_size:
                yield group
                group = []
        if group:
            yield group

    def _skip_or_raise(self, item: Item, reason: str, cause: Exception | None = None) -> None:
        if not self.skip_bad:
            raise ProbeError(reason) from cause
        self.skipped.append({"name": item.name, "reason": reason.replace(str(item.path), item.name)})

    def _run(self, groups: Iterator[Group]) -> Any:
        """Yield batches; returns None at the end, or the images in flight when DALI failed."""
        in_flight: deque[Group] = deque()
        failure: list[ProbeError] = []

        def feed() -> Any:
            try:
                group = next(groups)
            except ProbeError as error:  # DALI would replace its type and message
                failure.append(error)
                raise StopIteration from None
            in_flight.append(group)
            return [np.frombuffer(data, np.uint8) for _, data, _ in group]

        pipe = self._build(feed, self.batch_size, self.prefetch)
        while True:
            try:
                (out,) = pipe.run()
            except StopIteration:
                break
            except RuntimeError as error:
                if not in_flight:
                    raise ProbeError(f"DALI failed: {error}") from error
                return [entry for group in in_flight for entry in group]
            group = in_flight.popleft()
            yield DaliBatch(
                torch.utils.dlpack.from_dlpack(out.as_tensor()),
                [item.name for item, _, _ in group],
                [digest for _, _, digest in group],
                [item.label for item, _, _ in group],
            )
        if failure:
            raise failure[0]
        return None

    def _decode_error(self, entry: tuple[Item, bytes, str]) -> str | None:
        """Why DALI cannot decode this image; None if it can."""
        blobs = iter([[np.frombuffer(entry[1], np.uint8)]])
        try:
            self._build(lambda: next(blobs), 1, 1).run()
        except RuntimeError as error:
            lines = [line.strip() for line in str(error).splitlines() if line.strip()]
            reason = lines[lines.index("encountered:") + 1] if "encountered:" in lines else lines[0]
            return f"image {entry[0].name!r} cannot be decoded: DALI: {reason}"
        return None

    def _build(self, feed: Callable[[], Any], batch: int, ahead: int) -> Any:
        on_gpu = torch.device(self.device).type == "cuda"

        def steps(fn: Any, types: Any, source: Any) -> Any:
            encoded = fn.external_source(source, batch=True)
            options = {"device": "mixed", "hw_decoder_load": 0.0} if on_gpu else {"device": "cpu"}
            images = fn.decoders.image(encoded, output_type=types.RGB, jpeg_fancy_upsampling=True, **options)
            mode = {"crop": "not_smaller", "stretch": "stretch", "pad": "not_larger"}[self.fit]
            filter_ = getattr(types, RESAMPLES[self.resample])
            images = fn.resize(images, size=self.size, mode=mode, interp_type=filter_, antialias=True)
            images = fn.crop(images, crop=self.size, out_of_bounds_policy="pad", fill_values=0)
            if self.quality is not None:
                images = fn.jpeg_compression_distortion(images, quality=self.quality)
            return images

        return _pipeline(feed, steps, batch=batch, device=self.device, threads=self.threads, ahead=ahead)
