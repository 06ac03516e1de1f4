"""Changes of the weights that need no training: quantisation and noise."""

from __future__ import annotations

import math

import torch
from torch import nn

from ..errors import require
from .copies import ModelT, copied
from .training import device_of, seeded


def quantize_int8(model: ModelT, *, bits: int = 8) -> ModelT:
    """Round the weights of all linear and convolutional layers to 8-bit integers, one scale an output channel.

    ``w ← s · round(w / s)`` with ``s = max|w| / (2^(bits − 1) − 1)`` over the weights of one output channel: the
    symmetric per-channel quantisation that int8 runtimes apply to weights. The rounded values are kept as
    floats, so the model has the same architecture and its file loads as before. Biases, normalisation and
    activations stay floats. Folding batch normalisation into the convolution beforehand, as runtimes do,
    multiplies an output channel by a constant and its scale with it: the model would be the same.
    torch.ao's quantisation, which torch has deprecated, gives modules of another kind that run on few backends.

    Args:
        model: it is not changed.
        bits: 2 … 8; 8 leaves at most 255 values a channel.

    Returns:
        A new model of the same type, in eval mode.

    Raises:
        ValueError: bits out of range.

    Source: Krishnamoorthi, 2018, arXiv 1806.08342 (per-channel symmetric weight quantisation).

    Example:
        >>> import torch
        >>> layer = torch.nn.Linear(1000, 1)
        >>> len(quantize_int8(layer).weight.unique()) <= 255
        True
    """
    require(isinstance(bits, int) and 2 <= bits <= 8, "bits must be an integer in 2…8", bits)
    max_level = 2 ** (bits - 1) - 1
    quantized = copied(model).eval()
    with torch.no_grad():
        for weight in _weights(quantized):
            rows = weight.flatten(1)
            scale = rows.abs().amax(dim=1, keepdim=True) / max_level
            steps = torch.where(scale > 0, rows / scale, 0).round().clamp(-max_level, max_level)
            weight.copy_((steps * scale).reshape(weight.shape))
    return quantized


def weight_noise(model: ModelT, *, level: float = 0.1, seed: int = 0) -> ModelT:
    """Add normal noise to the weights of all linear and convolutional layers.

    ``w ← w + level · std(w) · N(0, 1)``, the standard deviation taken over the layer's weights.

    Args:
        model: it is not changed.
        level: ≥ 0, the noise relative to the weights.
        seed: of the noise; the global random state is left alone.

    Returns:
        A new model of the same type, in eval mode.

    Raises:
        ValueError: a level that is negative or not finite.

    Example:
        >>> import torch
        >>> layer = torch.nn.Linear(4, 3)
        >>> torch.equal(weight_noise(layer, level=0.1).weight, layer.weight)
        False
    """
    require(0 <= level < math.inf, "level must be at least 0 and finite", level)
    noisy = copied(model).eval()
    with torch.no_grad(), seeded(seed, device_of(noisy)):
        for weight in _weights(noisy):
            # Drawn on the CPU, so that one seed is one model on every device.
            noise = torch.randn(weight.shape, dtype=torch.float32).to(weight)
            weight.add_(noise * (level * weight.std(correction=0)))
    return noisy


def _weights(model: nn.Module) -> list[nn.Parameter]:
    """Every weight of two or more dimensions, once: linear, convolutional, attention; not normalisation.

    The normalisation of whole maps, ``LayerNorm([c, h, w])``, has weights of several dimensions too.
    """
    norms = (nn.LayerNorm, nn.RMSNorm)
    weights = [
        parameter
        for module in model.modules()
        if not isinstance(module, norms)
        for parameter in module.parameters(recurse=False)
        if parameter.ndim >= 2
    ]
    return list(dict.fromkeys(weights))
