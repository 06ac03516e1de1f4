"""Copies that need no training: other number formats, noise, pruning with new batch-norm statistics."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sac_fast.attacks.copies import copied


def rounded(network: nn.Module, dtype: torch.dtype) -> nn.Module:
    """All weights rounded to another floating-point format."""
    return _changed(network, lambda weight: weight.to(dtype).to(weight.dtype))


def pruned(network: nn.Module, ratio: float, inputs: Tensor, batch_size: int = 32) -> nn.Module:
    """The smallest weights of each convolution set to 0, then the batch-norm statistics estimated again on images."""
    copy = copied(network)
    with torch.no_grad():
        for module in copy.modules():
            if isinstance(module, nn.Conv2d):
                size = module.weight.abs()
                module.weight[size <= size.flatten().kthvalue(max(1, int(ratio * size.numel()))).values] = 0.0
    reestimate_norms(copy, inputs, batch_size)
    return copy


def reestimate_norms(network: nn.Module, inputs: Tensor, batch_size: int = 32) -> None:
    """Mean and variance of every batch normalisation anew, over all batches of some images alike; in place."""
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    momentum = [norm.momentum for norm in norms]
    network.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean over the batches
        norm.train()
    with torch.no_grad():
        for batch in inputs.split(batch_size):
            network(batch)
    for norm, before in zip(norms, momentum, strict=True):
        norm.momentum = before
    network.eval()


def _changed(network: nn.Module, change: Callable[[Tensor], Tensor]) -> nn.Module:
    copy = copied(network)
    with torch.no_grad():
        for parameter in copy.parameters():
            parameter.copy_(change(parameter))
    return copy.eval()


#: Name -> (how: dynamic or the graph's form, one scale a channel).
INT8 = {
    "int8-dynamic": ("dynamic", False),
    "int8-static-qdq": ("QDQ", False),
    "int8-static-qoperator": ("QOperator", False),
    "int8-per-channel": ("QDQ", True),
}


def quantize(exported: Path, target: Path, way: str, images: NDArray[np.float32]) -> None:
    """Quantize an ONNX file to int8 as onnxruntime does it, whole or not at all.

    Args:
        exported: of the network.
        target: replaced.
        way: a key of ``INT8``.
        images: (n, 3, 224, 224) for the ranges of the activations, where they are fixed.
    """
    import onnxruntime.quantization as quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    form, per_channel = INT8[way]
    prepared, part = target.with_suffix(".prepared"), target.with_suffix(".part")
    quant_pre_process(str(exported), str(prepared))
    try:
        if form == "dynamic":
            quantization.quantize_dynamic(str(prepared), str(part), weight_type=quantization.QuantType.QUInt8)
        else:
            quantization.quantize_static(
                str(prepared), str(part), _Reader(images), quant_format=quantization.QuantFormat[form],
                per_channel=per_channel, activation_type=quantization.QuantType.QUInt8,
                weight_type=quantization.QuantType.QInt8,
            )  # fmt: skip
        os.replace(part, target)
    finally:
        prepared.unlink(missing_ok=True)


class _Reader:
    """Hands images to the calibration, eight at a time."""

    def __init__(self, images: NDArray[np.float32]) -> None:
        self._batches: Iterator[NDArray[np.float32]] = iter(np.array_split(images, max(1, len(images) // 8)))

    def get_next(self) -> dict[str, Any] | None:
        batch = next(self._batches, None)
        return None if batch is None else {"images": np.ascontiguousarray(batch)}
