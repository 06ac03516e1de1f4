"""The pieces of benchmarks/baselines: perturbations, superpixels, pixel models and the draw of images."""

import math

import numpy as np
import pytest
import torch
from baselines import PixelModel, Task, cae, to_pixels, uap, zest
from baselines.defender import logits_of
from baselines.perturb import ascend, frozen
from support.baseline_models import OWN, SIDE, Linear, Net, pixels, task
from torch import nn

from sac_fast.models import Preprocessing

# --- perturbations ---------------------------------------------------------------------------------------


def test_ascend_reaches_the_corner_of_the_ball_of_a_linear_objective():
    weights = torch.where(pixels(1, 2) < 0.5, -1.0, 1.0)
    images = 0.5 * pixels(5) + 0.25
    moved = ascend(lambda x, rows: (x * weights).sum(), images, epsilon=0.1, step=0.05, steps=5, seed=0)
    assert torch.allclose(moved, images + 0.1 * weights, atol=1e-6)
    clipped = ascend(lambda x, rows: x.sum(), images, epsilon=2.0, step=1.0, steps=3, seed=0)
    assert torch.equal(clipped, torch.ones_like(images))


def test_frozen_gives_modes_and_gradients_back_also_after_an_error():
    model = nn.Sequential(nn.Linear(2, 2), nn.Dropout())
    model[0].bias.requires_grad_(False)
    model.train()
    model[1].eval()

    def look_and_fail():
        with frozen(model):
            assert not any(p.requires_grad for p in model.parameters())
            assert not model.training
            {}["missing"]

    with pytest.raises(KeyError):
        look_and_fail()
    assert model.training
    assert not model[1].training
    assert [p.requires_grad for p in model.parameters()] == [True, False]


# --- UAP -------------------------------------------------------------------------------------------------


def test_uap_is_bounded_and_fools_more_than_noise_of_the_same_size():
    source, images = Net(), pixels(200)
    labels = logits_of(source, images).argmax(1)
    v = uap.universal_perturbation(source, images, labels, 0.05, 5)
    assert v.shape == (1, 3, SIDE, SIDE)
    assert float(v.abs().max()) <= np.float32(0.05)
    fooled = (logits_of(source, (images + v).clamp(0, 1)).argmax(1) != labels).float().mean()
    noise = 0.05 * (pixels(1, 9) - 0.5).sign()
    by_noise = (logits_of(source, (images + noise).clamp(0, 1)).argmax(1) != labels).float().mean()
    assert fooled > by_noise + 0.1


def test_uap_contrastive_loss_by_hand():
    codes = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    kinds = torch.tensor([0, 0, 1, 1])
    # Every row has one of its kind, with cosine 1, and two others, with cosine 0.
    expected = -math.log(math.e**2 / (math.e**2 + 2))
    assert uap.contrastive_loss(codes, kinds, 0.5).item() == pytest.approx(expected, abs=1e-6)
    mixed = uap.contrastive_loss(codes, torch.tensor([0, 1, 0, 1]), 0.5).item()
    assert mixed == pytest.approx(-math.log(1 / (math.e**2 + 2)), abs=1e-6)


def test_uap_views_take_one_image_of_each_cluster():
    given = task()
    print_of = uap.prepare(Net(), given, OWN, 40, 0)
    assert print_of.views.shape == (1, 20, 3, SIDE, SIDE)
    assert len({tuple(image.flatten().tolist()) for image in print_of.views[0]}) == 20


# --- CAE -------------------------------------------------------------------------------------------------


def test_cae_conferrability_by_hand():
    labels = torch.tensor([0, 1, 2, 0])
    stolen = torch.tensor([[0, 1, 2, 1], [0, 1, 0, 1]])
    independent = torch.tensor([[1, 1, 2, 1], [2, 1, 0, 1]])
    # all and none agree: 1; all and all: 0; half and half: ¼; none: 0
    assert cae.conferrability(labels, stolen, independent).tolist() == [1.0, 0.0, 0.25, 0.0]


def test_cae_images_confer_more_than_those_they_start_from():
    given = task()
    print_of = cae.prepare(Net(), given, OWN, 24, 0)
    start, _ = given.draw(30, 0)

    def mean(images):
        labels = logits_of(Net(), images).argmax(1)
        kinds = (OWN.stolen, OWN.independent)
        told = [torch.stack([logits_of(model, images).argmax(1) for model in models]) for models in kinds]
        return cae.conferrability(labels, *told).mean()

    assert mean(print_of.images) > mean(start) + 0.1
    nearest = torch.cdist(print_of.images.flatten(1), start.flatten(1), p=float("inf")).amin(1)
    assert float(nearest.max()) <= cae.EPSILON + 1e-5


# --- Zest ------------------------------------------------------------------------------------------------


def test_lime_recovers_the_weights_of_a_linear_model():
    image = pixels(1)[0]
    segments = np.arange(SIDE * SIDE).reshape(SIDE, SIDE) // 16
    masks = torch.rand(40, 4, generator=torch.Generator().manual_seed(1)) < 0.5
    weights = torch.randn(2, 3 * SIDE * SIDE, generator=torch.Generator().manual_seed(2))
    made = zest.lime(image, segments, masks)
    found = made.solver @ logits_of(Linear(weights), made.images).double()
    # A superpixel's weight is what the model loses when its pixels take their mean colour.
    expected = torch.zeros(4, 2, dtype=torch.float64)
    for s in range(4):
        inside = torch.from_numpy(segments == s)
        mean = image[:, inside].mean(1, keepdim=True)
        change = torch.zeros_like(image)
        change[:, inside] = image[:, inside] - mean
        expected[s] = (weights @ change.flatten()).double()
    assert torch.allclose(found, expected, atol=1e-4)


def test_lime_weighs_masks_as_its_paper_does():
    image, segments = pixels(1)[0], np.arange(SIDE * SIDE).reshape(SIDE, SIDE) // 32
    masks = torch.tensor([[True, True], [True, False], [False, True], [False, False]])
    made = zest.lime(image, segments, masks)
    outputs = np.array([1.0, 0.5, 0.2, 0.9])
    kernel = np.exp(-(np.array([0, 1 - math.sqrt(0.5), 1 - math.sqrt(0.5), 1]) ** 2) / 0.25**2)
    design = np.column_stack([masks.numpy(), np.ones(4)])
    expected = np.linalg.lstsq(design * np.sqrt(kernel)[:, None], outputs * np.sqrt(kernel), rcond=None)[0][:2]
    assert (made.solver @ torch.from_numpy(outputs)).numpy() == pytest.approx(expected, abs=1e-5)


def test_superpixels_are_numbered_without_gaps():
    blocks = pixels(1, side=4)[0].repeat_interleave(8, 1).repeat_interleave(8, 2)
    found = zest.superpixels(blocks)
    assert found.shape == (32, 32)
    assert np.array_equal(np.unique(found), np.arange(found.max() + 1))
    assert 2 <= found.max() + 1 <= 2 * zest.SUPERPIXELS


# --- the defender's things -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "how",
    [
        Preprocessing(mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4)),
        Preprocessing(colour_order="BGR", layout="NHWC"),
        Preprocessing(colour_order="GRAY", size=(5, 6)),
    ],
)
def test_pixel_models_see_what_the_preprocessing_gives(how):
    images = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), dtype=np.uint8)
    seen = PixelModel(nn.Identity(), how.to_dict())(to_pixels(images))
    assert torch.allclose(seen, how(torch.from_numpy(images)), atol=1e-6)


def test_a_pixel_model_saves_the_network_only():
    assert set(PixelModel(Net(), None).state_dict()) == {f"network.{key}" for key in Net().state_dict()}


def test_draw_takes_held_out_images_first_and_none_twice():
    given = task()
    images, labels = given.draw(16, 0)
    pairs = [(images, labels), (given.held_out, given.held_out_labels)]
    drawn, held = ({tuple(x.flatten().tolist()): int(y) for x, y in zip(*pair, strict=True)} for pair in pairs)
    assert drawn == held
    images, labels = given.draw(1000, 0)
    assert len(images) == len(labels) == 48
    assert len({tuple(image.flatten().tolist()) for image in images}) == 48


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": torch.zeros(3)}, "labels must be int64"),
        ({"images": pixels(4)[0]}, "images of labels must be float"),
        ({"errors": pixels(4)}, "images and error_labels must be given together"),
        ({"held_out_labels": torch.zeros(3, dtype=torch.int64)}, "images and held_out_labels must be given together"),
    ],
)
def test_a_task_that_does_not_fit_is_refused(changes, message):
    fields = {"images": pixels(4), "labels": torch.zeros(4, dtype=torch.int64), **changes}
    with pytest.raises(ValueError, match=message):
        Task(**fields)
