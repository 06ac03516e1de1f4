"""Preprocessing."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from sac_fast.models import Preprocessing

PIXELS = np.random.default_rng(0).integers(0, 256, (7, 4, 6, 3), np.uint8)


def test_preprocessing_values() -> None:
    image = torch.tensor([[[[0, 51, 255]]]], dtype=torch.uint8)  # one pixel: 0.0, 0.2, 1.0
    plain = Preprocessing()(image)
    assert plain.dtype == torch.float32
    torch.testing.assert_close(plain, torch.tensor([0.0, 0.2, 1.0]).reshape(1, 3, 1, 1))
    bgr = Preprocessing(mean=(0.5, 0.2, 0.1), std=(0.5, 1.0, 0.1), colour_order="BGR")(image)
    torch.testing.assert_close(bgr, torch.tensor([1.0, 0.0, -1.0]).reshape(1, 3, 1, 1))
    grey = Preprocessing(mean=(0.1,), std=(2.0,), colour_order="GRAY")(image)
    torch.testing.assert_close(grey, torch.tensor((0.587 * 0.2 + 0.114 - 0.1) / 2).reshape(1, 1, 1, 1))
    bytes_ = Preprocessing(std=(1 / 255,))(image)
    torch.testing.assert_close(bytes_.flatten(), torch.tensor([0.0, 51.0, 255.0]))


def test_preprocessing_layout_and_size() -> None:
    images = torch.from_numpy(PIXELS)
    nhwc = Preprocessing(layout="NHWC")(images)
    assert nhwc.is_contiguous()
    torch.testing.assert_close(nhwc, images / 255.0)
    small = Preprocessing(size=(2, 3))(images)
    expected = nn.functional.interpolate(
        images.permute(0, 3, 1, 2) / 255.0, (2, 3), mode="bilinear", antialias=True, align_corners=False
    )
    torch.testing.assert_close(small, expected)
    assert small.is_contiguous()
    torch.testing.assert_close(Preprocessing(size=(4, 6))(images), nhwc.permute(0, 3, 1, 2), rtol=0, atol=0)
    step = torch.tensor([[0, 0, 255, 255]], dtype=torch.uint8)[..., None].expand(1, 1, 4, 3)
    halves = Preprocessing(size=(1, 2))(step)[0, 0, 0]
    # Antialias: a triangle of half-width 2 around each new centre reaches one of the two far pixels.
    torch.testing.assert_close(halves, torch.tensor([1 / 7, 6 / 7]))


def test_preprocessing_is_recorded() -> None:
    given = Preprocessing(size=(2, 3), mean=(0.1, 0.2, 0.3), std=(0.5,), colour_order="BGR", layout="NHWC")
    recorded = given.to_dict()
    assert recorded == {
        "size": [2, 3],
        "resize": "torch bilinear antialias",
        "mean": [0.1, 0.2, 0.3],
        "std": [0.5, 0.5, 0.5],
        "colour_order": "BGR",
        "layout": "NHWC",
    }
    assert Preprocessing.from_dict(json.loads(json.dumps(recorded))) == given
    text = json.dumps(recorded, sort_keys=True, separators=(",", ":"))
    assert given.hash == "sha256:" + hashlib.sha256(text.encode()).hexdigest()
    assert Preprocessing() == Preprocessing(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    assert Preprocessing().hash != Preprocessing(mean=(0.1,)).hash


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"size": (0, 3)}, "size must be two integers"),
        ({"size": (3,)}, "size must be two integers"),
        ({"mean": (0.1, 0.2)}, r"mean must be 1 or 3 finite numbers for RGB, got \(0\.1, 0\.2\)"),
        (
            {"mean": (0.1, 0.2, 0.3), "colour_order": "GRAY"},
            "mean must be 1 finite number for GRAY",
        ),
        ({"mean": (float("nan"),)}, "mean must be"),
        ({"std": (1.0, 0.0, 1.0)}, "std must be above 0"),
        ({"colour_order": "RBG"}, "colour_order must be one of RGB, BGR, GRAY, got 'RBG'"),
        ({"layout": "CHWN"}, 'layout must be "NCHW" or "NHWC"'),
        ({"crop": 3}, r"must have the keys .*got \['crop'\]"),
        ({"resize": "pillow"}, "resize must be 'torch bilinear antialias', got 'pillow'"),
        ({"mean": 3}, "must be as to_dict"),
        ({"mean": "123"}, "mean must be numbers, got the text '123'"),
        ({"std": ["1", "2", "3"]}, "std must be numbers, got the text"),
        ({"std": b"123"}, "std must be numbers"),
        ({"mean": [10**400]}, "mean must be 1 or 3 finite numbers for RGB"),
    ],
)
def test_preprocessing_wrong(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Preprocessing.from_dict(values)


def test_preprocessing_wrong_images() -> None:
    for images in (torch.zeros(1, 4, 4, 3), torch.zeros(1, 3, 4, 4, dtype=torch.uint8)):
        with pytest.raises(ValueError, match=r"images must be uint8 \(n, H, W, 3\)"):
            Preprocessing()(images)
