"""How stored axes become (output units, inputs, places)."""

import numpy as np
import pytest

from sac_fast.verify.weights.layers import order_axes, ordered_shape


@pytest.mark.parametrize(
    ("axes", "shape", "expected"),
    [
        ("oihw", (8, 3, 5, 5), (8, 3, 5, 5)),
        ("oihw", (8, 3, 5, 1), (8, 3, 5)),
        ("oihw", (8, 3, 1, 5), (8, 3, 5)),
        ("oihw", (8, 3, 1, 1), (8, 3, 1, 1)),
        ("", (8, 3, 5, 1), (8, 3, 5)),
        ("wio", (5, 3, 8), (8, 3, 5)),
        ("hwio", (1, 5, 3, 8), (8, 3, 5)),
        ("igo", (3, 4, 8), (32, 3)),
    ],
)
def test_a_kernel_one_place_wide_is_one_along_an_axis(axes, shape, expected):
    assert ordered_shape(shape, axes) == expected
    assert order_axes(np.zeros(shape), axes).shape == expected


def test_values_stay_with_their_places():
    kernel = np.arange(5 * 3 * 8).reshape(5, 3, 8)
    flat = order_axes(kernel, "wio")
    assert np.array_equal(flat, order_axes(kernel[:, None], "hwio"))
    assert flat[7, 2, 4] == kernel[4, 2, 7]
