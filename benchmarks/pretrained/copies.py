"""Copies that need no training: other number formats, noise, pruning with matched batch-norm statistics."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
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
    """The smallest weights of each dense layer set to 0, then the batch-norm statistics matched to the network's.

    Depthwise convolutions, which have 3 % of the weights and need all of them, stay as they are, as in Zhu and Gupta,
    2017, arXiv 1710.01878.
    """
    copy = copied(network)
    with torch.no_grad():
        for module in dense_layers(copy):
            size = module.weight.abs()
            module.weight[size <= size.flatten().kthvalue(max(1, int(ratio * size.numel()))).values] = 0.0
    match_norms(copy, network, inputs, batch_size)
    return copy


def dense_layers(network: nn.Module) -> list[nn.Conv2d | nn.Linear]:
    """Linear layers and the convolutions that see all channels."""
    return [
        module for module in network.modules()
        if isinstance(module, nn.Linear) or (isinstance(module, nn.Conv2d) and module.groups == 1)
    ]  # fmt: skip


def match_norms(network: nn.Module, source: nn.Module, inputs: Tensor, batch_size: int = 32) -> None:
    """Set the batch-norm statistics of a changed network so that its channels are as the source's; in place.

    With (m, v) mean and variance of a channel's input in the source, (m', v') in the changed network, both on the same
    images, and (M, V) the source's statistics, of its own training data,

        ``V' = V v'/v``,  ``M' = m' + (M − m) √(v'/v)``

    give the channel the source's mean and variance after normalisation. Statistics of the images alone (M' = m',
    V' = v') would not: a few hundred photographs are not what the source was trained on. The batches' M', V' are
    averaged.

    Source: Jordan et al., REPAIR, ICLR 2023, arXiv 2211.08403.
    """
    given = dict(_norms(source))
    norms = {name: norm.eval() for name, norm in _norms(network)}
    totals = {name: (torch.zeros(norm.num_features), torch.zeros(norm.num_features)) for name, norm in norms.items()}
    seen: dict[str, tuple[Tensor, Tensor]] = {}

    def observe(name: str, x: Tensor) -> None:
        seen[name] = _moments(x)

    def match(name: str, x: Tensor) -> None:
        (m, v), (mean, variance) = seen[name], _moments(x)
        share = torch.where(v > 0, variance / v, 1.0)
        norms[name].running_mean.copy_(mean + (given[name].running_mean - m) * share.sqrt())
        norms[name].running_var.copy_(given[name].running_var * share)
        for total, value in zip(totals[name], (norms[name].running_mean, norms[name].running_var), strict=True):
            total.add_(value)

    network.eval()
    batches = inputs.split(batch_size)
    with torch.no_grad(), ExitStack() as stack:
        for modules, call in ((given, observe), (norms, match)):
            for name, norm in modules.items():
                handle = norm.register_forward_pre_hook(lambda _, x, name=name, call=call: call(name, x[0]))
                stack.callback(handle.remove)
        for batch in batches:
            source(batch)
            network(batch)
        for name, (mean, variance) in totals.items():
            norms[name].running_mean.copy_(mean / len(batches))
            norms[name].running_var.copy_(variance / len(batches))


def _norms(network: nn.Module) -> list[tuple[str, nn.BatchNorm2d]]:
    return [(name, module) for name, module in network.named_modules() if isinstance(module, nn.BatchNorm2d)]


def _moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of each channel."""
    return x.mean(dim=(0, 2, 3)), x.var(dim=(0, 2, 3), correction=0)


def _changed(network: nn.Module, change: Callable[[Tensor], Tensor]) -> nn.Module:
    copy = copied(network)
    with torch.no_grad():
        for parameter in copy.parameters():
            parameter.copy_(change(parameter))
    return copy.eval()


#: Name -> (how: dynamic or the graph's form, type of the activations). Weights have one scale a channel: with one a
#: tensor, depthwise convolutions lose so much that half of the labels change.
INT8 = {
    "int8-dynamic": ("dynamic", "QUInt8"),
    "int8-static-qdq": ("QDQ", "QUInt8"),
    "int8-static-qoperator": ("QOperator", "QUInt8"),
    "int8-16-bit-activations": ("QDQ", "QUInt16"),
}
#: onnxruntime's integer convolution has one scale a tensor, so the dynamic way leaves convolutions as they are.
_DYNAMIC = ["MatMul", "Gemm"]


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

    form, activations = INT8[way]
    prepared, part = target.with_suffix(".prepared"), target.with_suffix(".part")
    quant_pre_process(str(exported), str(prepared))
    try:
        if form == "dynamic":
            quantization.quantize_dynamic(
                str(prepared), str(part), op_types_to_quantize=_DYNAMIC, weight_type=quantization.QuantType.QInt8,
                per_channel=True,
            )  # fmt: skip
        else:
            quantization.quantize_static(
                str(prepared), str(part), _Reader(images), quant_format=quantization.QuantFormat[form],
                per_channel=True, activation_type=quantization.QuantType[activations],
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
