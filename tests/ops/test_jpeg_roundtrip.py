"""`jpeg_roundtrip` against Pillow itself, bit for bit."""

import functools
import io

import numpy as np
import pytest
import torch
from PIL import Image
from support import jpeg_images

from sac_fast import BackendError, _backend, jpeg_roundtrip

SIZES = [
    *((1, 1), (1, 2), (2, 1), (2, 3), (3, 4), (4, 5), (5, 4), (7, 7), (8, 8), (9, 8), (8, 9), (13, 11), (16, 16)),
    *((17, 15), (31, 33), (1, 67), (71, 1), (32, 32), (61, 97), (64, 65), (112, 112), (127, 129), (224, 224)),
    (225, 224),
]
SUBSAMPLINGS = ("4:4:4", "4:2:2", "4:2:0")
MODES = ("gray", *SUBSAMPLINGS)
NATURAL, SYNTHETIC = 30, 6  # images of a size and mode: crops, and of each kind of jpeg_images besides

needs_kernels = pytest.mark.skipif(not _backend.is_compiled(), reason="sac_fast._C is not built")


def photograph(height, width, seed=0, count=1):
    rng = np.random.default_rng(seed)
    return np.stack([jpeg_images.natural(rng, height, width) for _ in range(count)])


def pillow(images, quality, subsampling="4:2:0"):
    qualities = np.broadcast_to(quality, len(images))
    pairs = zip(images, qualities, strict=True)
    return np.stack([jpeg_images.pillow(image, int(q), subsampling) for image, q in pairs])


def subsampling_of(mode):
    return "4:2:0" if mode == "gray" else mode


@functools.cache
def cases(mode):
    """[(images, qualities, Pillow's answer)], one for each size."""
    rng = np.random.default_rng(MODES.index(mode))
    result = []
    for height, width in SIZES:
        kinds = [f for f in jpeg_images.CONTENTS.values() if f is not jpeg_images.natural]
        makers = [jpeg_images.natural] * NATURAL + kinds * SYNTHETIC
        images = np.stack([make(rng, height, width) for make in makers])
        images = images[..., :1] if mode == "gray" else images
        qualities = rng.integers(1, 101, len(images))
        qualities[: min(6, len(images))] = (1, 7, 25, 50, 95, 100)
        result.append((images, qualities, pillow(images, qualities, subsampling_of(mode))))
    return result


@pytest.mark.parametrize("mode", MODES)
def test_equals_pillow(instruction_set, mode):
    for images, qualities, expected in cases(mode):
        actual = jpeg_roundtrip(images, qualities, subsampling_of(mode), backend="cpu")
        assert actual.dtype == torch.uint8
        assert np.array_equal(actual.numpy(), expected), images.shape


@pytest.mark.parametrize("mode", MODES)
def test_reference_equals_pillow(mode):
    for images, qualities, expected in cases(mode):
        few = slice(None, None, 4)
        actual = jpeg_roundtrip(images[few], qualities[few], subsampling_of(mode), backend="reference")
        assert np.array_equal(actual.numpy(), expected[few]), images.shape


def test_there_are_5000_cases():
    assert sum(len(images) for mode in MODES for images, _, _ in cases(mode)) >= 5000


@pytest.mark.parametrize("mode", MODES)
def test_every_quality(backend, mode):
    qualities = np.arange(1, 101)
    images = photograph(41, 45, seed=1, count=100)
    images = images[..., :1] if mode == "gray" else images
    expected = pillow(images, qualities, subsampling_of(mode))
    assert np.array_equal(jpeg_roundtrip(images, qualities, subsampling_of(mode), backend=backend), expected)
    one = jpeg_roundtrip(images[41:42], 42, subsampling_of(mode), backend=backend)
    assert np.array_equal(one, expected[41:42])


def test_flat_gray_by_hand(backend):
    # DC = 64 · (200 − 128) = 4608; step 16 at quality 1 is 255; (4608 + 1020) / 2040 → 2; 2 · 255 / 8 → 64
    flat = torch.full((1, 8, 8, 1), 200, dtype=torch.uint8)
    assert (jpeg_roundtrip(flat, 1, backend=backend) == 128 + 64).all()
    # quality 50 takes the step as it is: (4608 + 64) / 128 → 36; 36 · 16 / 8 = 72
    assert (jpeg_roundtrip(flat, 50, backend=backend) == 200).all()


def test_inverse_dct_out_of_range_is_clamped(backend):
    """A block made so that at quality 1 one sample comes back as 632 + 128, where libjpeg's plain C code gives 0."""
    block = np.array(
        [
            [243, 143, 124, 192, 199, 122, 57, 35],
            [89, 111, 85, 70, 89, 56, 14, 33],
            [231, 160, 116, 50, 0, 99, 240, 255],
            [93, 255, 254, 87, 65, 128, 170, 216],
            [236, 47, 40, 173, 205, 206, 236, 229],
            [73, 243, 236, 87, 37, 41, 25, 30],
            [250, 233, 198, 94, 5, 55, 133, 124],
            [167, 38, 4, 134, 218, 140, 64, 86],
        ],
        np.uint8,
    )[None, :, :, None]
    actual = jpeg_roundtrip(block, 1, backend=backend)
    assert actual[0, 3, 1, 0] == 255
    assert np.array_equal(actual, pillow(block, 1))


@needs_kernels
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("shape", [(1, 701, 533), (3, 300, 17), (9, 224, 224), (2, 16, 3000)])
def test_any_number_of_threads(monkeypatch, instruction_set, mode, shape):
    count, height, width = shape
    images = photograph(height, width, seed=2, count=count)
    images = images[..., :1] if mode == "gray" else images
    expected = pillow(images, 25, subsampling_of(mode))
    for threads in (1, 2, 3, 7, 16):
        monkeypatch.setenv("SAC_FAST_NUM_THREADS", str(threads))
        assert np.array_equal(jpeg_roundtrip(images, 25, subsampling_of(mode)), expected), threads


@pytest.mark.parametrize("shape", [(1, 65_500), (65_500, 1), (17, 9001)])
@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
def test_longest_sides(backend, shape, subsampling):
    image = jpeg_images.noise(np.random.default_rng(3), *shape)[None]
    assert np.array_equal(jpeg_roundtrip(image, 50, subsampling, backend=backend), pillow(image, 50, subsampling))


def test_gray_with_and_without_the_last_dimension(backend):
    gray = photograph(30, 41, count=3)[..., 1]
    plain, with_channel = (jpeg_roundtrip(x, 30, backend=backend) for x in (gray, gray[..., None]))
    assert plain.shape == (3, 30, 41)
    assert with_channel.shape == (3, 30, 41, 1)
    assert torch.equal(plain, with_channel[..., 0])


def views():
    whole = photograph(46, 50, seed=4, count=4)
    read_only = whole.copy()
    read_only.flags.writeable = False
    yield from (read_only, whole[:, ::-1], whole[..., ::-1], whole[::-1, 1:, :-1], whole[:, ::2, ::3])
    yield from (whole.transpose(0, 2, 1, 3), np.broadcast_to(whole[:1], whole.shape), np.asfortranarray(whole))
    planes_first = torch.from_numpy(whole).permute(0, 3, 1, 2).contiguous()
    yield from (planes_first.permute(0, 2, 3, 1), torch.from_numpy(whole)[1:, :, 3:], torch.from_numpy(whole)[:, :, :1])


def test_any_strides(backend):
    for images in views():
        expected = pillow(np.asarray(images), 33)
        actual = jpeg_roundtrip(images, 33, backend=backend)
        assert actual.is_contiguous()
        assert np.array_equal(actual, expected)


def test_input_is_left_alone(backend):
    images = photograph(20, 20)
    before = images.copy()
    assert not np.array_equal(jpeg_roundtrip(images, 5, backend=backend), before)
    assert np.array_equal(images, before)


@pytest.mark.parametrize("quality", [60, [60] * 3, np.uint8(60), np.full(3, 60, np.int64), torch.full((3,), 60)])
def test_forms_of_quality(quality):
    images = photograph(19, 23, count=3)
    assert np.array_equal(jpeg_roundtrip(images, quality), pillow(images, 60))


def test_default_device_is_of_no_effect(backend):
    images = torch.from_numpy(photograph(19, 23, count=2))
    with torch.device("meta"):
        out = jpeg_roundtrip(images, 60, backend=backend)
    assert np.array_equal(out, pillow(images.numpy(), 60))


@pytest.mark.parametrize("shape", [(0, 5, 5, 3), (0, 5, 5)])
def test_no_images(backend, shape):
    empty = torch.empty(shape, dtype=torch.uint8)
    for quality in (50, [], torch.empty(0, dtype=torch.int64)):
        assert jpeg_roundtrip(empty, quality, backend=backend).shape == shape


IMAGES = torch.zeros(2, 4, 4, 3, dtype=torch.uint8)


def test_backends_by_name(monkeypatch):
    with pytest.raises(ValueError, match="backend must be one of auto, cuda, cpu, reference, got 'gpu'"):
        jpeg_roundtrip(IMAGES, 5, backend="gpu")
    with pytest.raises(BackendError, match="backend 'cuda' needs tensors on a cuda device, got cpu"):
        jpeg_roundtrip(IMAGES, 5, backend="cuda")
    images = photograph(10, 10)
    expected = pillow(images, 5)
    monkeypatch.setattr(_backend, "_module", None)
    assert np.array_equal(jpeg_roundtrip(images, 5), expected)
    with pytest.raises(BackendError, match="backend 'cpu' needs the compiled module"):
        jpeg_roundtrip(IMAGES, 5, backend="cpu")


def test_twice_is_what_a_second_file_holds():
    first = photograph(50, 50, seed=6)
    file = io.BytesIO()
    Image.fromarray(jpeg_roundtrip(first, 15).numpy()[0]).save(file, "PNG")
    again = np.asarray(Image.open(file))[None]
    assert np.array_equal(jpeg_roundtrip(again, 10), pillow(pillow(first, 15), 10))


def test_registered_op(backend):
    images = torch.from_numpy(photograph(20, 21, count=2))
    for quality in (torch.tensor([30], dtype=torch.uint8), torch.tensor([30, 60], dtype=torch.uint8)):
        torch.library.opcheck(torch.ops.sac_fast.jpeg_roundtrip.default, (images, quality, "4:2:0", backend))


@pytest.mark.cuda
@pytest.mark.parametrize("mode", MODES)
def test_cuda_equals_pillow(mode):
    for images, qualities, expected in cases(mode):
        for backend in ("cuda", "reference"):
            actual = jpeg_roundtrip(torch.from_numpy(images).cuda(), qualities, subsampling_of(mode), backend=backend)
            assert actual.is_cuda
            assert np.array_equal(actual.cpu(), expected), (images.shape, backend)


@pytest.mark.cuda
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("shape", [(129, 257), (701, 533), (3, 65_500), (16, 3000)])
def test_cuda_images_of_several_tiles(mode, shape):
    images = photograph(*shape, seed=7)
    images = images[..., :1] if mode == "gray" else images
    actual = jpeg_roundtrip(torch.from_numpy(images).cuda(), 25, subsampling_of(mode), backend="cuda")
    assert np.array_equal(actual.cpu(), pillow(images, 25, subsampling_of(mode)))
