"""`jpeg_roundtrip`: check the arguments, choose the backend, call it. See `ops` for the other ops."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from .. import _backend
from ..errors import BackendError
from .arguments import BACKENDS, check_choice
from .jpeg_arguments import SUBSAMPLINGS, Quality, images_tensor, quality_tensor
from .reference import jpeg_roundtrip as jpeg_reference


def jpeg_roundtrip(
    images: Tensor | np.ndarray,
    quality: Quality,
    subsampling: str = "4:2:0",
    *,
    backend: str = "auto",
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
    if backend in ("cpu", "cuda") and backend != images.device.type:
        raise BackendError(f"backend {backend!r} needs tensors on a {backend} device, got {images.device}")
    qualities = quality_tensor(quality, images.shape[0])
    result: Tensor = torch.ops.sac_fast.jpeg_roundtrip(images, qualities, subsampling, backend)
    return result


@torch.library.custom_op("sac_fast::jpeg_roundtrip", mutates_args=())
def _jpeg_roundtrip(images: Tensor, quality: Tensor, subsampling: str, backend: str) -> Tensor:
    if backend == "cpu" or (backend == "auto" and images.device.type == "cpu" and _backend.is_compiled()):
        return _jpeg_roundtrip_compiled(images, quality, subsampling, "cpu")
    if backend == "cuda":
        return _jpeg_roundtrip_compiled(images, quality, subsampling, "cuda")
    qualities = int(quality[0]) if quality.numel() == 1 else quality
    return jpeg_reference.jpeg_roundtrip(images, qualities, subsampling).contiguous()


@_jpeg_roundtrip.register_fake
def _(images: Tensor, quality: Tensor, subsampling: str, backend: str) -> Tensor:
    return images.new_empty(images.shape)


def _jpeg_roundtrip_compiled(images: Tensor, quality: Tensor, subsampling: str, backend: str) -> Tensor:
    module = _backend.compiled(backend)
    images, quality = images.contiguous(), quality.to(images.device).contiguous()
    out = torch.empty_like(images)
    if out.numel() == 0:
        return out
    count, height, width = images.shape[:3]
    batch = (
        images.data_ptr(),
        out.data_ptr(),
        count,
        height,
        width,
        images.shape[3] if images.dim() == 4 else 1,
        quality.data_ptr(),
        int(quality.numel() > 1),
        subsampling,
    )
    if backend == "cpu":
        module.jpeg_roundtrip_cpu(*batch, _backend.cpu_threads(), _backend.cpu_instruction_set())
    else:
        with torch.cuda.device(images.device):
            module.jpeg_roundtrip_cuda(*batch, torch.cuda.current_stream().cuda_stream)
    return out
