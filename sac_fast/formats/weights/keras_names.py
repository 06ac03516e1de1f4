"""What uses an array of Keras (and Flax), by its name, its shape and the arrays beside it.

Source: the layers of Keras; https://keras.io/api/layers.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from .names import Shape, Use

#: Names that PyTorch does not give; where one stands, all arrays of the file are named in this way.
NAMES = {
    *("kernel", "depthwise_kernel", "pointwise_kernel", "recurrent_kernel", "embeddings", "moving_mean"),
    *("moving_variance", "gamma"),
}
# Keras 3 numbers the variables of a layer in the order in which it makes them.
_NUMBERED = {
    "batch_normalization": ("gamma", "beta", "moving_mean", "moving_variance"),
    "layer_normalization": ("gamma", "beta"),
    "group_normalization": ("gamma", "beta"),
    "embedding": ("embeddings",),
    "separable_conv": ("depthwise_kernel", "pointwise_kernel", "bias"),
    "depthwise_conv": ("depthwise_kernel", "bias"),
    "cell": ("kernel", "recurrent_kernel", "bias"),
    "": ("kernel", "bias"),
}
_NORM = {"gamma", "beta", "moving_mean", "moving_variance", "scale", "mean", "var"}
_KERNEL_AXES = {3: "wio", 4: "hwio", 5: "dhwio"}
# What TensorFlow's users call kernels beside Keras's own name.
_KERNELS = {"kernel", "pointwise_kernel", "filters", "filter", "pointwise_filter", "weights", "w"}
_DEPTHWISE = {"depthwise_kernel", "depthwise_filter", "depthwise_weights"}
_TRANSPOSED = re.compile(r"conv\d?d?_?transpose|deconv", re.IGNORECASE)


def last_part(name: str) -> str:
    """``"kernel"`` of ``"conv2d/kernel:0"``."""
    return re.split(r"[./]", name)[-1].partition(":")[0]


def keras_uses(shapes: Mapping[str, Shape]) -> dict[str, Use]:
    """How each array is used; depthwise kernels and gates are taken apart in the shape.

    Args:
        shapes: shapes by name, in the file's order.
    """
    return {name: _use(name, shape, shapes) for name, shape in shapes.items()}


def _use(name: str, shape: Shape, shapes: Mapping[str, Shape]) -> Use:
    last = last_part(name)
    if last.isdigit():
        last = _numbered(name, int(last))
    if last in _NORM and len(shape) <= 1:
        return Use(shape, "o" * len(shape), "norm")
    if last == "bias":
        return Use(shape, "o" if len(shape) == 1 else "", "bias")
    if last == "embeddings" and len(shape) == 2:
        return Use(shape, "vo", "embedding")
    if last in _DEPTHWISE and len(shape) in (3, 4):
        # (places, channels, kernels a channel): its outputs are all of them.
        return Use((*shape[:-2], 1, shape[-2] * shape[-1]), _KERNEL_AXES[len(shape)], "depthwise")
    if last in _KERNELS | {"recurrent_kernel"} and len(shape) == 2:
        return _matrix(name, last, shape, shapes)
    if last in _KERNELS and len(shape) in _KERNEL_AXES:
        axes = _KERNEL_AXES[len(shape)]
        return Use(shape, axes[:-2] + "oi" if _TRANSPOSED.search(name) else axes, "conv")
    return Use(shape, "", "unknown" if shape else "constant")


def _numbered(name: str, number: int) -> str:
    """The name of a layer's variable by its number, by the layer's class: ``layers/lstm_1/cell/vars/1``."""
    path = name.split("/")[:-1]
    layers = [part for part in path if part != "vars"]
    found = next((kind for kind in _NUMBERED if layers and layers[-1].startswith(kind)), "")
    names = _NUMBERED[found]
    return names[number] if number < len(names) else ""


def _matrix(name: str, last: str, shape: Shape, shapes: Mapping[str, Shape]) -> Use:
    """A dense layer, or one of a recurrent layer's two matrices, known by the other one beside it."""
    hidden = shape if last == "recurrent_kernel" else _beside(name, shapes)
    units = hidden[0] if len(hidden) == 2 else 0
    gates = hidden[1] // units if units and hidden[1] % units == 0 else 0
    if hidden == () or (gates in (3, 4) and shape[1] != hidden[1]):
        return Use(shape, "io", "dense")
    if gates not in (3, 4):
        return Use(shape, "", "unknown")
    kind, order = ("lstm", "ifco") if gates == 4 else ("gru", "zrh")
    which = "hidden" if last == "recurrent_kernel" else "input"
    return Use((shape[0], gates, math.prod(shape[1:]) // gates), "igo", f"{kind}-{which}", order)


def _beside(name: str, shapes: Mapping[str, Shape]) -> Shape:
    """The shape of the recurrent kernel of the same layer; () where it has none."""
    start, _, end = name.rpartition("kernel")
    named = shapes.get(f"{start}recurrent_kernel{end}") if end.partition(":")[0] == "" and "kernel" in name else None
    folder = name.rpartition("/")[0]
    if named is None and folder.endswith("cell/vars"):
        named = shapes.get(f"{folder}/1")
    return named or ()
