"""`jpeg_roundtrip`: what is left of images after JPEG, without the file in between."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from .. import _backend
from ..io.choices import Backend, Subsampling
from . import reference
from .arguments import BACKENDS, check_choice
from .cuda.tiles import on_device
from .dispatch import cpu_arguments, held, register
from .jpeg_arguments import (
    SUBSAMPLINGS,
    Quality,
    check_images,
    check_quality,
    check_quality_values,
    images_tensor,
    quality_tensor,
)


@held
def jpeg_roundtrip(
    images: Tensor | np.ndarray,
    quality: Quality,
    subsampling: Subsampling = "4:2:0",
    *,
    backend: Backend = "auto",
) -> Tensor:
    """What is left of images after JPEG, bit for bit as Pillow (libjpeg-turbo) gives it, without the file in between.

    out_i = decode(encode(images_i, quality_i, subsampling)): colours to YCbCr, chroma halved, 8 × 8 DCT, every
    coefficient rounded to a multiple of its step, and back. All in whole numbers: every backend, instruction set
    and number of threads gives the same bits. Entropy coding loses nothing and is left out.

    Args:
        images: uint8 (n, H, W, 3) RGB, or (n, H, W, 1) or (n, H, W) gray, sides of 1 to 65,500 pixels; any strides;
            tensor or NumPy array.
        quality: 1 (worst) to 100: an integer, or (n,) integers, one for each image.
        subsampling: "4:4:4", "4:2:2" or "4:2:0"; no matter for gray images.
        backend: "auto" follows the device and falls back to "reference" where no compiled kernel serves it;
            "cpu" and "cuda" are the compiled module, "reference" is plain PyTorch. CUDA kernels that no GPU has run
            yet (see `capabilities`) are used only when asked for by name.

    Returns:
        uint8 of the shape of `images`, on their device, contiguous.

    Raises:
        TypeError: images not uint8, quality not of integers.
        ValueError: wrong shape, quality outside 1 … 100 (the message names the image), unknown name.
        BackendError: the backend was asked for by name and is not there, or does not fit the device.

    Example:
        >>> gray = torch.full((1, 8, 8), 200, dtype=torch.uint8)
        >>> jpeg_roundtrip(gray, quality=1).unique()
        tensor([192], dtype=torch.uint8)

    With Pillow, for one image:

        Image.fromarray(image).save(file, "JPEG", quality=quality, subsampling=subsampling)
        out = np.asarray(Image.open(file))

    One known divergence: where the inverse DCT leaves −384 … 639, which no photograph does, libjpeg-turbo's plain C
    code wraps around; its SIMD code, which Pillow runs, clamps, and so does this.

    Source: the JC of SAC-JC, Guan et al., "Sample Correlation for Fingerprinting Deep Face Recognition" (arXiv
    2412.20768); ITU-T T.81; libjpeg-turbo.
    """
    images = images_tensor(images)
    check_choice("subsampling", subsampling, SUBSAMPLINGS)
    check_choice("backend", backend, BACKENDS)
    return _op(images, quality_tensor(quality, images.shape[0]), subsampling, backend)


def _check(images: Tensor, quality: Tensor, subsampling: str) -> None:
    check_images(images)
    check_quality(quality, images.shape[0])
    check_choice("subsampling", subsampling, SUBSAMPLINGS)


def _fake(images: Tensor, quality: Tensor, subsampling: str) -> Tensor:
    return images.new_empty(images.shape)


def _cpu(images: Tensor, quality: Tensor, subsampling: str) -> Tensor:
    return _roundtrip("cpu", images, quality, subsampling, cpu_arguments())


def _cuda(images: Tensor, quality: Tensor, subsampling: str) -> Tensor:
    with on_device(images.device) as stream:
        return _roundtrip("cuda", images, quality, subsampling, (stream,))


def _roundtrip(
    backend: str, images: Tensor, quality: Tensor, subsampling: str, launch: tuple[int] | tuple[int, str]
) -> Tensor:
    """The compiled op: CPU kernels take threads and instruction set, CUDA kernels a stream."""
    check_quality_values(quality)
    module = _backend.compiled(backend)
    images, quality = images.contiguous(), quality.to(images.device).contiguous()
    out = torch.empty_like(images)
    if out.numel() == 0:
        return out
    shape = images.shape if images.dim() == 4 else (*images.shape, 1)
    qualities = quality.data_ptr(), int(quality.numel() > 1)
    kernel = getattr(module, f"jpeg_roundtrip_{backend}")
    kernel(images.data_ptr(), out.data_ptr(), *shape, *qualities, subsampling, *launch)
    return out


def _reference(images: Tensor, quality: Tensor, subsampling: str) -> Tensor:
    qualities = int(quality[0]) if quality.numel() == 1 else quality
    return reference.jpeg_roundtrip(images, qualities, subsampling).contiguous()


_op = register("jpeg_roundtrip", check=_check, fake=_fake, cpu=_cpu, cuda=_cuda, reference=_reference)
