"""The definition of `jpeg_roundtrip` in plain PyTorch; imports nothing compiled, works on every device.

Whole numbers throughout. The 8 × 8 products run in float64, which holds every integer below 2⁵³ exactly (they stay
below 2³¹) and, unlike integer products, exists on every device.

Source: ITU-T T.81 (the tables of annex K.1, the DCT); the rounding of each step is that of libjpeg-turbo with its
"islow" DCT and "fancy" upsampling: jcparam.c, jccolor.c, jcsample.c, jcprepct.c, jfdctint.c, jcdctmgr.c, jidctint.c,
jdsample.c, jdcolor.c.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..arguments import check_choice
from ..jpeg_arguments import SUBSAMPLINGS, Quality, images_tensor, quality_tensor

_LUMINANCE = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
_CHROMINANCE = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    *((99,) * 8,) * 4,
)
# Loeffler, Ligtenberg and Moschytz, ICASSP 1989: sums of cosines times √2
_COSINES = {
    "0.298": 0.298631336,
    "0.390": 0.390180644,
    "0.541": 0.541196100,
    "0.765": 0.765366865,
    "0.899": 0.899976223,
    "1.175": 1.175875602,
    "1.501": 1.501321110,
    "1.847": 1.847759065,
    "1.961": 1.961570560,
    "2.053": 2.053119869,
    "2.562": 2.562915447,
    "3.072": 3.072711026,
}


def jpeg_roundtrip(images: Tensor | np.ndarray, quality: Quality, subsampling: str = "4:2:0") -> Tensor:
    """What is left of images after JPEG: `decode(encode(image, quality, subsampling))`, bit for bit as Pillow gives it.

    Args, Returns, Raises: as `sac_fast.jpeg_roundtrip`.
    """
    images = images_tensor(images)
    check_choice("subsampling", subsampling, SUBSAMPLINGS)
    percent = _percent(quality_tensor(quality, images.shape[0]).to(images.device))
    if images.numel() == 0:
        return images.clone()
    if images.dim() == 3 or images.shape[3] == 1:
        gray = images.reshape(images.shape[:3]).to(torch.int64)
        return _roundtrip_plane(gray, _LUMINANCE, percent, gray.shape[2]).reshape(images.shape).to(torch.uint8)

    h, v = 1 if subsampling == "4:4:4" else 2, 2 if subsampling == "4:2:0" else 1
    y, *chroma = _to_ycc(images.to(torch.int64))
    height, width = y.shape[1:]
    y = _roundtrip_plane(y, _LUMINANCE, percent, width)
    samples = -(-width // h)
    cb, cr = (_grow(_roundtrip_plane(_shrink(c, h, v), _CHROMINANCE, percent, samples), h, v) for c in chroma)
    return _to_rgb(y, cb[:, :height, :width] - 128, cr[:, :height, :width] - 128).to(torch.uint8)


def _percent(quality: Tensor) -> Tensor:
    quality = quality.to(torch.int64)
    return torch.where(quality < 50, 5000 // quality, 200 - 2 * quality)


def _fixed(value: float, bits: int = 16) -> int:
    return round(value * (1 << bits))


def _to_ycc(rgb: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    r, g, b = rgb.unbind(3)
    half, centre = 1 << 15, (128 << 16) + (1 << 15) - 1
    return (
        (_fixed(0.29900) * r + _fixed(0.58700) * g + _fixed(0.11400) * b + half) >> 16,
        (-_fixed(0.16874) * r - _fixed(0.33126) * g + _fixed(0.5) * b + centre) >> 16,
        (_fixed(0.5) * r - _fixed(0.41869) * g - _fixed(0.08131) * b + centre) >> 16,
    )


def _to_rgb(y: Tensor, cb: Tensor, cr: Tensor) -> Tensor:
    half = 1 << 15
    r = y + ((_fixed(1.40200) * cr + half) >> 16)
    g = y + ((-_fixed(0.34414) * cb - _fixed(0.71414) * cr + half) >> 16)
    b = y + ((_fixed(1.77200) * cb + half) >> 16)
    return torch.stack((r, g, b), 3).clamp(0, 255)


def _replicate(plane: Tensor, right: int, bottom: int) -> Tensor:
    # torch's replication pads no integers
    rows = torch.arange(plane.shape[1] + bottom, device=plane.device).clamp(max=plane.shape[1] - 1)
    cols = torch.arange(plane.shape[2] + right, device=plane.device).clamp(max=plane.shape[2] - 1)
    return plane[:, rows][:, :, cols]


def _shrink(plane: Tensor, h: int, v: int) -> Tensor:
    """Means of v × h samples, ceil(H/v) × W', W' whole blocks (the right edge is replicated before the means)."""
    if h == 1:
        return plane
    plane = _replicate(plane, -plane.shape[2] % 16, -plane.shape[1] % v)
    odd_column = torch.arange(plane.shape[2] // 2, device=plane.device) % 2
    pairs = plane[:, :, 0::2] + plane[:, :, 1::2]
    return (pairs + odd_column) >> 1 if v == 1 else (pairs[:, 0::2] + pairs[:, 1::2] + 1 + odd_column) >> 2


def _dct_matrix() -> Tensor:
    """The 8 × 8 DCT times √8 · 2¹³, its entries the sums of rounded constants that the fast algorithm multiplies by."""
    c = {name: _fixed(value, 13) for name, value in _COSINES.items()}
    even = (
        (8192, 8192),
        (c["0.541"] + c["0.765"], c["0.541"]),
        (8192, -8192),
        (c["0.541"], c["0.541"] - c["1.847"]),
    )
    a, b, d, e = (
        c["1.501"] - c["0.899"] - c["0.390"] + c["1.175"],
        c["1.175"],
        c["1.175"] - c["0.390"],
        c["1.175"] - c["0.899"],
    )
    odd = (
        (a, b, d, e),
        (b, c["3.072"] - c["2.562"] - c["1.961"] + b, b - c["2.562"], b - c["1.961"]),
        (d, b - c["2.562"], c["2.053"] - c["2.562"] - c["0.390"] + b, b),
        (e, b - c["1.961"], b, c["0.298"] - c["0.899"] - c["1.961"] + b),
    )
    rows = []
    for k in range(4):
        p, q = even[k]
        half = (p, q, q, p) if k % 2 == 0 else (p, q, -q, -p)
        rows += [(*half, *reversed(half)), (*odd[k], *(-value for value in reversed(odd[k])))]
    return torch.tensor(rows, dtype=torch.float64)


def _descale(x: Tensor, bits: int) -> Tensor:
    return torch.floor((x + 2 ** (bits - 1)) / 2**bits)


def _roundtrip_plane(plane: Tensor, base: tuple[tuple[int, ...], ...], percent: Tensor, width: int) -> Tensor:
    """DCT, quantisation and back of a plane (n, H, W') to (n, H, width), W' ≥ width; padded by its last row, column."""
    n, height = plane.shape[:2]
    padded = _replicate(plane, -plane.shape[2] % 8, -height % 8)
    rows, cols = padded.shape[1] // 8, padded.shape[2] // 8
    blocks = padded.reshape(n, rows, 8, cols, 8).permute(0, 1, 3, 2, 4).to(torch.float64) - 128
    dct = _dct_matrix().to(plane.device)
    frequencies = _descale(dct @ _descale(blocks @ dct.T, 11), 15).to(torch.int64)

    table = torch.tensor(base, device=plane.device)
    step = ((table * percent[:, None, None] + 50) // 100).clamp(1, 255)[:, None, None]
    levels = frequencies.sign() * ((frequencies.abs() + 4 * step) // (8 * step))

    samples = _descale(_descale(dct.T @ (levels * step).to(torch.float64), 11) @ dct, 18) + 128
    samples = samples.clamp(0, 255).to(torch.int64)
    return samples.permute(0, 1, 3, 2, 4).reshape(n, 8 * rows, 8 * cols)[:, :height, :width]


def _grow(plane: Tensor, h: int, v: int) -> Tensor:
    """Each sample becomes v × h: triangle filter, or copies when the plane is no wider than 2."""
    if h == 1:
        return plane
    if plane.shape[2] <= 2:
        return plane.repeat_interleave(v, 1).repeat_interleave(2, 2)
    if v == 2:
        above, below = torch.cat((plane[:, :1], plane[:, :-1]), 1), torch.cat((plane[:, 1:], plane[:, -1:]), 1)
        plane = torch.stack((3 * plane + above, 3 * plane + below), 2).flatten(1, 2)
    before, after = torch.cat((plane[:, :, :1], plane[:, :, :-1]), 2), torch.cat((plane[:, :, 1:], plane[:, :, -1:]), 2)
    shift, left_bias, right_bias = (4, 8, 7) if v == 2 else (2, 1, 2)
    left, right = (3 * plane + before + left_bias) >> shift, (3 * plane + after + right_bias) >> shift
    return torch.stack((left, right), 3).flatten(2, 3)
