"""Images that try a JPEG codec, and what Pillow makes of them."""

import functools
import io

import numpy as np
import skimage.data
import sklearn.datasets
from PIL import Image


def pillow(image, quality, subsampling):
    """decode(encode(image)) by Pillow; image (H, W), (H, W, 1) or (H, W, 3)."""
    plain = np.ascontiguousarray(image.reshape(image.shape[:2]) if image.shape[-1:] == (1,) else image)
    file = io.BytesIO()
    Image.fromarray(plain).save(file, "JPEG", quality=quality, subsampling=subsampling)
    return np.asarray(Image.open(file)).reshape(image.shape)


@functools.cache
def photographs():
    pictures = [sklearn.datasets.load_sample_image(name) for name in ("china.jpg", "flower.jpg")]
    return [*pictures, skimage.data.astronaut(), skimage.data.chelsea(), skimage.data.coffee(), skimage.data.rocket()]


def natural(rng, height, width):
    """A crop of a photograph, which is mirrored where it is too small."""
    picture = photographs()[rng.integers(len(photographs()))]
    missing = [max(0, size - have) for size, have in zip((height, width), picture.shape[:2], strict=True)]
    if any(missing):
        picture = np.pad(picture, ((0, missing[0]), (0, missing[1]), (0, 0)), "symmetric")
    y, x = (rng.integers(have - size + 1) for size, have in zip((height, width), picture.shape[:2], strict=True))
    return np.ascontiguousarray(picture[y : y + height, x : x + width])


def noise(rng, height, width):
    return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)


def extremes(rng, height, width):
    """Only 0 and 255."""
    return rng.integers(0, 2, (height, width, 3), dtype=np.uint8) * np.uint8(255)


def checkerboard(rng, height, width):
    cell = rng.integers(1, 10)
    colours = rng.choice(np.array([0, 255, 254, 1, 128], np.uint8), (2, 3))
    board = (np.arange(height)[:, None] // cell + np.arange(width) // cell) % 2
    return colours[board]


def saturated(rng, height, width):
    """Blocks of full and empty channels, a little off in places."""
    cell = int(rng.integers(1, 17))
    coarse = rng.integers(0, 2, (height // cell + 1, width // cell + 1, 3)) * 255
    fine = coarse.repeat(cell, 0).repeat(cell, 1)[:height, :width] + rng.integers(-2, 3, (height, width, 3))
    return fine.clip(0, 255).astype(np.uint8)


def dct_signs(rng, height, width):
    """8 × 8 blocks of full contrast that follow the signs of a DCT basis function, or of a sum of several."""
    k = np.arange(8)
    basis = np.cos((2 * k[None, :] + 1) * k[:, None] * np.pi / 16)
    rows, cols = -(-height // 8), -(-width // 8)
    spectrum = rng.choice([-1.0, 0.0, 1.0], (rows, cols, 3, 8, 8), p=[0.05, 0.9, 0.05])
    spectrum[..., 1, 0] += 0.01
    blocks = np.where(np.einsum("rcpuv,uy,vx->rcpyx", spectrum, basis, basis) >= 0, 255, 0)
    image = blocks.transpose(0, 3, 1, 4, 2).reshape(8 * rows, 8 * cols, 3)
    return image[:height, :width].astype(np.uint8)


def gradient(rng, height, width):
    y, x = np.linspace(0, 1, height)[:, None, None], np.linspace(0, 1, width)[None, :, None]
    a, b, c = rng.uniform(-255, 255, (3, 3))
    return (128 + a * x + b * y + c * x * y).clip(0, 255).astype(np.uint8)


CONTENTS = {f.__name__: f for f in (natural, noise, extremes, checkerboard, saturated, dct_signs, gradient)}
