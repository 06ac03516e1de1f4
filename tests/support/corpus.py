"""The corpus of small files that every way in must read alike: what a case is, and the network and outputs of all."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from sac_fast import ModelEntry, ProbeSet

#: The architectures that files of weights are fitted to, of which one must fit.
SPECS = ("support.corpus:Net", "support.corpus:Tied")
PROBES = ProbeSet.from_arrays(np.random.default_rng(0).integers(0, 256, (7, 2, 2, 3), np.uint8))
#: The recorded outputs (7, 3), float64, with three decimals: every text holds them exactly.
OUTPUTS = np.random.default_rng(1).integers(-4000, 4000, (7, 3)) / 1000
WEIGHT = np.random.default_rng(2).standard_normal((3, 12)).astype(np.float32)
BIAS = np.random.default_rng(3).standard_normal(3).astype(np.float32)
PIXELS = PROBES.images.transpose(0, 3, 1, 2).reshape(7, 12) / 255
#: What `Net` gives for the probes with `WEIGHT` and `BIAS`, by float64 arithmetic.
NETWORK = PIXELS @ WEIGHT.T.astype(np.float64) + BIAS


class Net(nn.Module):
    """2×2 RGB pixels to 3 numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(12, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x.flatten(1))  # type: ignore[no-any-return]  # of nn.Module


class Tied(nn.Module):
    """2×2 RGB pixels to 12 numbers, twice by the same weight."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(12, 12, bias=False), nn.Linear(12, 12, bias=False)
        self.b.weight = self.a.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.b(self.a(x.flatten(1)))  # type: ignore[no-any-return]  # of nn.Module


def network(
    weight: np.ndarray[Any, Any] = WEIGHT, bias: np.ndarray[Any, Any] = BIAS, pixels: np.ndarray[Any, Any] = PIXELS
) -> np.ndarray[Any, Any]:
    """What `Net` gives with other weights or pixels, by float64 arithmetic."""
    made: np.ndarray[Any, Any] = pixels @ weight.astype(np.float64).T + bias
    return made


def weights() -> dict[str, torch.Tensor]:
    """The state dict of `Net`."""
    return {"linear.weight": torch.from_numpy(WEIGHT.copy()), "linear.bias": torch.from_numpy(BIAS.copy())}


@dataclass(frozen=True)
class Case:
    """One file and what must come of it.

    Attributes:
        name: of the file; its ending says nothing about the format.
        write: makes it (and what lies beside it) at a path.
        format: what `identify` says; None: it refuses the file for `outcome`.
        outcome: the outputs of the model; or the reason for which it is refused.
        says: a part of the message of the refusal, or of the notes of the model.
        options: of the `ModelEntry`: ``weights_key``, ``inputs``, ``output``.
    """

    name: str
    write: Callable[[Path], Any]
    format: str | None
    outcome: np.ndarray[Any, Any] | str
    says: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)

    def entry(self, folder: Path) -> ModelEntry:
        """The file in the folder of all."""
        return ModelEntry(self.name, folder / self.name, root=folder, **self.options)

    def arguments(self) -> list[str]:
        """The options as `sac-fast fingerprint` takes them."""
        key, fixed = self.options.get("weights_key"), self.options.get("inputs", {})
        output = [] if "output" not in self.options else ["--output", str(self.options["output"])]
        values = {name: value if isinstance(value, str) else json.dumps(value) for name, value in fixed.items()}
        given = [part for name, value in values.items() for part in ("--input", f"{name}={value}")]
        return [*given, *output, *([] if key is None else ["--weights-key", key])]


def content(data: bytes | str) -> Callable[[Path], Any]:
    """Writes these bytes."""
    return lambda path: path.write_bytes(data if isinstance(data, bytes) else data.encode())


def saved(save: Callable[[Any], Any]) -> Callable[[Path], Any]:
    """Writes what a function writes to a file object, whatever the file's name."""

    def write(path: Path) -> None:
        buffer = io.BytesIO()
        save(buffer)
        path.write_bytes(buffer.getvalue())

    return write
