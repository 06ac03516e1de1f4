"""The scripts' JPEG and CutMix probes."""

import io

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from support.script_files import CIFAR, as_the_script_reads, images

from sac_fast.compat import datasets
from sac_fast.errors import ProbeError


def as_the_script_augments(data, iteration):
    """Pillow at the quality of the severity, an image at a time; the swap of height and width at the end."""
    quality = [25, 18, 15, 10, 7][iteration // 2]
    made = []
    for image in data:
        pixels = np.floor(np.float32(255) * image).transpose(1, 2, 0).astype(np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
        made.append(torch.from_numpy(np.array(Image.open(buffer))).permute(2, 0, 1).to(torch.float32).div(255))
    made = torch.stack(made)
    return made.transpose(2, 3) if iteration % 2 else made


@pytest.mark.parametrize("iteration", range(10))
def test_jpeg_probes(iteration):
    data = images(3, height=24, width=16)
    made = datasets.jpeg_compression(data, iteration)
    assert made.dtype == np.float32
    assert made.flags.c_contiguous
    np.testing.assert_array_equal(made, as_the_script_augments(data, iteration).numpy())


@pytest.mark.parametrize("iteration", [-1, 10, 0.5, True, None])
def test_iterations_that_are_none(iteration):
    with pytest.raises(ProbeError, match="iteration must be an integer from 0 to 9"):
        datasets.jpeg_compression(images(), iteration)


def test_augmented_files_lie_where_the_scripts_write_and_read(folder):
    data = images(5, height=16, width=8)
    datasets.write_hdf5("data/dataset_test.h5", data, np.arange(5))
    path = datasets.write_augmented(iteration=3)
    assert path == "data/data_augmented/jpeg_compression_augment_s=2_f=1.h5"
    read = datasets.dataset_test("data_augmented/" + datasets.augmented_name(3))
    expected = as_the_script_augments(data, 3)
    assert torch.equal(torch.stack([x for x, _ in read]), expected)
    assert read.labels.tolist() == [0, 1, 2, 3, 4]
    datasets.write_augmented(iteration=3, layout="NHWC", limit=2)
    older = datasets.dataset_SAC("data_augmented/" + datasets.augmented_name(3))
    assert torch.equal(torch.stack([x for x, _ in older]), expected[:2])
    with pytest.raises(ProbeError, match='layout must be "NCHW" or "NHWC", got '):
        datasets.write_augmented(iteration=3, layout="CHWN")


def as_the_script_mixes(x, seed):
    """The script's draws from the global generators, which are put back afterwards."""
    before = np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng():
        np.random.seed(seed)  # noqa: NPY002
        torch.manual_seed(seed)
        np.random.beta(1, 1)  # noqa: NPY002
        others = torch.randperm(len(x))
        w, h = x.shape[2:]
        while True:
            cx, cy = np.random.randint(w), np.random.randint(h)  # noqa: NPY002
            if not (1 / 6 * w < cx < 5 / 6 * w or 1 / 6 * h < cy < 5 / 6 * h):
                break
    np.random.set_state(before)  # noqa: NPY002
    cut_w, cut_h = int(w * 0.2), int(h * 0.2)
    x1, x2 = np.clip([cx - cut_w // 2, cx + cut_w // 2], 0, w)
    y1, y2 = np.clip([cy - cut_h // 2, cy + cut_h // 2], 0, h)
    mixed = x.clone()
    mixed[:, :, x1:x2, y1:y2] = x[others][:, :, x1:x2, y1:y2]
    return mixed.transpose(1, 3)


@pytest.mark.parametrize("shape", [(20, 3, 32, 32), (5, 3, 40, 24), (4, 1, 1, 1)])
@pytest.mark.parametrize("seed", [0, 3, 77])
def test_cutmix(shape, seed):
    x = torch.rand(shape, generator=torch.Generator().manual_seed(1))
    before, state = x.clone(), torch.get_rng_state()
    mixed = datasets.cutmix(x, seed=seed)
    assert torch.equal(mixed, as_the_script_mixes(x, seed))
    assert mixed.is_contiguous()
    assert torch.equal(x, before)
    assert torch.equal(torch.get_rng_state(), state)


def test_cutmix_draws_with_the_scripts_seed():
    x = torch.rand(20, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    assert torch.equal(datasets.cutmix(x), as_the_script_mixes(x, 3))
    assert not torch.equal(datasets.cutmix(x).transpose(1, 3), x)


def test_cutmix_file_is_read_by_dataset1(folder):
    x = torch.rand(6, 3, 10, 10, generator=torch.Generator().manual_seed(1))
    datasets.write_hdf5("data/cut_mix_final.h5", datasets.cutmix(x), torch.arange(6))
    mixed = as_the_script_mixes(x, 3).numpy()
    expected = as_the_script_reads(mixed, 2, nhwc=True, **CIFAR)
    assert torch.equal(datasets.dataset1("cut_mix_final.h5", train=False)[2][0], expected)


@given(st.integers(1, 64), st.integers(1, 64), st.integers(0, 99))
def test_patches_lie_away_from_the_centre(width, height, seed):
    x1, y1, x2, y2 = datasets.rand_bbox((1, 3, width, height), 0.5, np.random.RandomState(seed))
    assert 0 <= x1 <= x2 <= width
    assert 0 <= y1 <= y2 <= height
    assert x2 - x1 <= width // 5
    assert y2 - y1 <= height // 5
    # its centre lies in an outer sixth, so half a patch of a fifth reaches no further than sixth and tenth
    assert x2 <= width / 6 + width / 10 or x1 >= 5 / 6 * width - width / 10
    assert y2 <= height / 6 + height / 10 or y1 >= 5 / 6 * height - height / 10


def test_patches_from_the_global_generator():
    before = np.random.get_state()  # noqa: NPY002
    try:
        np.random.seed(5)  # noqa: NPY002
        drawn = datasets.rand_bbox((1, 3, 32, 32), 0.5)
    finally:
        np.random.set_state(before)  # noqa: NPY002
    assert drawn == datasets.rand_bbox((1, 3, 32, 32), 0.5, np.random.RandomState(5))


def test_cutmix_arguments():
    with pytest.raises(ProbeError, match=r"images must have the shape \(n, C, H, W\)"):
        datasets.cutmix(torch.rand(3, 8, 8))
    with pytest.raises(ProbeError, match="sides of at least 1"):
        datasets.cutmix(torch.rand(2, 3, 0, 8))
