"""What uses an array of a state dict, by its name, its shape and the arrays beside it: there is no graph to ask."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

Shape = tuple[int, ...]

_KERNEL_AXES = {3: "oiw", 4: "oihw", 5: "oidhw"}
_WEIGHT = re.compile(r"(^|[._])(weight|weight_v|original1|w|kernel)$")
_NORM = {
    "running_mean",
    "running_var",
    "num_batches_tracked",
    "gamma",
    "beta",
    "moving_mean",
    "moving_variance",
    "scale",
}
_RECURRENT = re.compile(r"(.*)weight_(ih|hh)(.*)")
_EMBEDDING = re.compile(r"(^|[._])(wte|wpe|\w*embed|\w*embeds|\w*embedding|\w*embeddings|emb|lookup)[._]weight$")
_TRANSPOSED = re.compile(r"(deconv|conv\w*_?transpose|transposed?_?conv|upconv|up_?conv)", re.IGNORECASE)
# GPT-2 keeps these dense layers as (in, out).
_GPT2_DENSE = re.compile(r"(^|\.)h\.\d+\.(attn\.c_attn|attn\.c_proj|attn\.q_attn|mlp\.c_fc|mlp\.c_proj)\.weight$")


class Use(NamedTuple):
    """How an array is used; ``shape`` as it is read, gates apart."""

    shape: Shape
    axes: str
    operator: str
    gates: str = ""


def uses_of(shapes: Mapping[str, Shape]) -> dict[str, Use]:
    """How each array of a state dict is used, as PyTorch's modules name and lay out their parameters.

    A kernel with one input channel a group is depthwise where its channels are those that the kernel before it gives;
    else it is the first layer of a network that sees one channel.

    Args:
        shapes: shapes by name, in the file's order.

    Returns:
        The use of each, in the same order.
    """
    found: dict[str, Use] = {}
    channels = 0
    for name, shape in shapes.items():
        use = _use(name, shape, shapes, channels)
        if use.operator in ("conv", "depthwise"):
            channels = shape[use.axes.index("o")]
        found[name] = use
    return found


def _use(name: str, shape: Shape, shapes: Mapping[str, Shape], channels: int) -> Use:
    base, _, last = name.rpartition(".")
    beside = f"{base}." if base else ""
    if recurrent := _RECURRENT.fullmatch(name):
        return _recurrent(recurrent, shape, shapes)
    if len(shape) == 1:
        normed = f"{beside}running_mean" in shapes or len(shapes.get(f"{beside}weight", (0, 0))) == 1
        if last in _NORM or (normed and last in ("weight", "bias")) or _WEIGHT.search(last):
            return Use(shape, "o", "norm")
        return Use(shape, "o", "bias") if "bias" in last or last in ("b", "b_0") else Use(shape, "", "unknown")
    if last in _NORM and not shape:
        return Use(shape, "", "norm")
    if len(shape) == 2 and last == "in_proj_weight":
        return Use(shape, "oi", "dense")
    if not _WEIGHT.search(name) or not 2 <= len(shape) <= 5:
        return Use(shape, "", "constant" if not shape else "unknown")
    if len(shape) == 2:
        # A layer with a bias is no embedding, whatever its name.
        if _EMBEDDING.search(name) and f"{beside}bias" not in shapes:
            return Use(shape, "vo", "embedding")
        return Use(shape, "io" if _GPT2_DENSE.search(name) else "oi", "dense")
    axes = _KERNEL_AXES[len(shape)]
    bias = shapes.get(f"{beside}bias", ())
    if shape[0] != shape[1] and (bias == (shape[1],) or (not bias and _TRANSPOSED.search(name))):
        return Use(shape, "io" + axes[2:], "conv")
    depthwise = shape[1] == 1 and shape[0] > 1 and channels > 1 and shape[0] % channels == 0
    return Use(shape, axes, "depthwise" if depthwise else "conv")


def _recurrent(found: re.Match[str], shape: Shape, shapes: Mapping[str, Shape]) -> Use:
    """Of ``weight_ih_l0``: its number of gates is seen from the hidden matrix, (gates · hidden, hidden)."""
    start, which, end = found.groups()
    hidden = shapes.get(f"{start}weight_hh{end}", ())
    gates = 0
    if len(hidden) == len(shape) == 2 and hidden[1] and hidden[0] % hidden[1] == 0 and shape[0] == hidden[0]:
        gates = hidden[0] // hidden[1]
    if gates not in (3, 4):
        return Use(shape, "", "unknown")
    kind, order = ("lstm", "ifgo") if gates == 4 else ("gru", "rzn")
    return Use((gates, *_split(shape, gates)), "goi", f"{kind}-{'input' if which == 'ih' else 'hidden'}", order)


def _split(shape: Shape, gates: int) -> Shape:
    return shape[0] // gates, *shape[1:]
