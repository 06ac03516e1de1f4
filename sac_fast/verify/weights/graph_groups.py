"""Which hidden units of a module can be permuted, from its graph: torch.fx follows the channels from layer to layer.

Every layer's output units are one group; adding tensors joins their groups, and what the walk does not know fixes the
groups that it touches. A group that is not fixed can be permuted without a change of the network's outputs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import fx, nn

from .layers import Use

NOT_SHOWN = "units that the graph does not show to be exchangeable"
OUTPUT = "output layer: its units mean the same in every model"

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_PER_UNIT = (
    *(nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.InstanceNorm1d, nn.InstanceNorm2d, nn.LayerNorm, nn.RMSNorm),
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Mish, nn.Hardswish, nn.Hardsigmoid, nn.Sigmoid),
    *(nn.Tanh, nn.Softplus, nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.PReLU),
    *(nn.MaxPool1d, nn.MaxPool2d, nn.AvgPool1d, nn.AvgPool2d, nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d),
    *(nn.AdaptiveMaxPool2d, nn.Upsample, nn.ZeroPad2d),
)
#: Functions and methods that treat every unit alike and leave its axis where it is.
_PER_UNIT_NAMES = {
    *("relu", "relu_", "relu6", "leaky_relu", "elu", "gelu", "silu", "mish", "hardswish", "hardsigmoid", "sigmoid"),
    *("tanh", "dropout", "max_pool2d", "avg_pool2d", "adaptive_avg_pool2d", "adaptive_max_pool2d", "interpolate"),
    *("contiguous", "clone", "float", "layer_norm"),
}
_ANY = 0  # of an input, whose axes are not known
_SUMS = {"add", "iadd", "add_", "sub", "mul", "imul", "mul_"}


@dataclass(frozen=True)
class _Channels:
    """Groups along the axis of units: 1 for maps, −1 for vectors; several after a concatenation."""

    groups: tuple[int, ...]
    axis: int
    flat: bool = False  # several inputs of one unit, or may be


@dataclass
class _Weight:
    """A weight that the walk met."""

    rows: int
    columns: tuple[int, ...]
    flat: bool


class _Walk:
    """Union–find over groups of units."""

    def __init__(self, graph: fx.GraphModule) -> None:
        self.graph = graph
        self.parents: list[int] = []
        self.fixed: set[int] = set()
        self.outputs: set[int] = set()
        self.blocks: dict[int, int] = {}
        self.weights: dict[str, _Weight] = {}

    def find(self, group: int) -> int:
        while self.parents[group] != group:
            group = self.parents[group]
        return group

    def new(self) -> int:
        self.parents.append(len(self.parents))
        return len(self.parents) - 1

    def join(self, a: int, b: int) -> None:
        self.parents[self.find(a)] = self.find(b)

    def fix(self, values: Any) -> None:
        self.fixed.update(_groups_in(values))

    def split(self, group: int, blocks: int) -> None:
        self.blocks[group] = math.lcm(self.blocks.get(group, 1), blocks)

    def run(self) -> None:
        values: dict[fx.Node, Any] = {}
        for node in self.graph.graph.nodes:
            given = fx.map_arg(node.args, lambda other: values[other])
            named = fx.map_arg(node.kwargs, lambda other: values[other])
            values[node] = self.step(node, tuple(given), dict(named))

    def step(self, node: fx.Node, given: tuple[Any, ...], named: dict[str, Any]) -> Any:
        if node.op == "output":
            self.fix(given)
            self.outputs.update(_groups_in(given))
            return None
        if node.op == "get_attr" and self.is_learned(str(node.target)):
            return None  # learned numbers of a unit move with it
        if node.op in ("placeholder", "get_attr"):
            made = _Channels((self.new(),), _ANY)
            self.fix([made])
            return made
        if node.op == "call_module":
            return self.module(str(node.target), self.graph.get_submodule(str(node.target)), given, named)
        name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
        return self.function(str(name).strip("_") if "__" in str(name) else str(name), given, named)

    def is_learned(self, target: str) -> bool:
        path, _, name = target.rpartition(".")
        found = getattr(self.graph.get_submodule(path), name)
        return isinstance(found, nn.Parameter) and found.requires_grad

    def unknown(self, given: tuple[Any, ...], named: dict[str, Any]) -> Any:
        self.fix([*given, *named.values()])
        made = _Channels((self.new(),), -1)
        self.fix([made])
        return made

    def module(self, path: str, module: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> Any:
        value = given[0] if len(given) == 1 and not named else None
        if not isinstance(value, _Channels):
            return self.unknown(given, named)
        if isinstance(module, _CONVOLUTIONS) and value.axis in (1, _ANY):
            return self.convolution(path, module, value)
        if isinstance(module, nn.Linear) and value.axis in (-1, _ANY):
            return self.layer(f"{path}.weight", value, -1)
        if isinstance(module, nn.GroupNorm):
            for group in value.groups:
                self.split(group, module.num_groups)
            if len(value.groups) > 1:
                self.fix([value])
            return value
        if isinstance(module, nn.Flatten) and module.start_dim == 1:
            return replace(value, axis=-1, flat=True)
        return value if isinstance(module, _PER_UNIT) else self.unknown(given, named)

    def convolution(self, path: str, module: Any, value: _Channels) -> _Channels:
        name = f"{path}.weight"
        if module.groups == 1:
            return self.layer(name, value, 1)
        if module.groups == module.in_channels == module.out_channels and len(value.groups) == 1:
            self.weights[name] = _Weight(value.groups[0], (), False)
            return value
        made = self.layer(name, value, 1)
        for group in (*value.groups, *made.groups):
            self.split(group, module.groups)
        if len(value.groups) > 1:
            self.fix([value])
        return made

    def layer(self, name: str, value: _Channels, axis: int) -> _Channels:
        made = self.new()
        if name in self.weights:  # used twice: both outputs are the same units
            self.join(made, self.weights[name].rows)
            self.fix([_Channels(self.weights[name].columns, 1), value])
        self.weights[name] = _Weight(made, value.groups, value.flat)
        return _Channels((made,), axis)

    def function(self, name: str, given: tuple[Any, ...], named: dict[str, Any]) -> Any:
        value = given[0] if given else None
        channels = [other for other in given if isinstance(other, _Channels)]
        if name in _SUMS and channels and not named:
            return self.sum(channels)
        if name == "cat" and isinstance(value, tuple | list):
            return self.concatenate(value, given[1] if len(given) > 1 else named.get("dim", 0), given, named)
        if not isinstance(value, _Channels):
            return self.unknown(given, named)
        if name in _PER_UNIT_NAMES and len(channels) == 1:
            return value
        if name == "flatten" and value.axis == 1 and (given[1:] or (named.get("start_dim"),))[0] == 1:
            return replace(value, axis=-1, flat=True)
        if name == "mean" and value.axis == 1 and len(given) == 2 and tuple(given[1]) in ((2, 3), (-2, -1), (-1, -2)):
            return value if named.get("keepdim") else replace(value, axis=-1)
        if name == "permute" and (value.axis, given[1:]) == (1, (0, 2, 3, 1)):
            return replace(value, axis=-1)
        if name == "permute" and (value.axis, given[1:]) == (-1, (0, 3, 1, 2)):
            return replace(value, axis=1)
        return self.unknown(given, named)

    def sum(self, channels: list[_Channels]) -> _Channels:
        first = channels[0]
        for other in channels[1:]:
            if len(other.groups) == len(first.groups) and other.axis == first.axis:
                for a, b in zip(first.groups, other.groups, strict=True):
                    self.join(a, b)
            else:
                self.fix(channels)
        return first

    def concatenate(self, parts: Any, dim: Any, given: tuple[Any, ...], named: dict[str, Any]) -> Any:
        if not all(isinstance(part, _Channels) and part.axis == dim for part in parts):
            return self.unknown(given, named)
        return _Channels(tuple(group for part in parts for group in part.groups), dim)


def _groups_in(value: Any) -> Iterator[int]:
    """Groups of all channels within containers."""
    if isinstance(value, _Channels):
        yield from value.groups
    elif isinstance(value, Mapping):
        yield from _groups_in(list(value.values()))
    elif isinstance(value, tuple | list):
        for part in value:
            yield from _groups_in(part)


def find_uses(module: nn.Module) -> dict[str, Use]:
    """How the units of a module's convolutions and dense layers may be permuted.

    Args:
        module: its forward pass is traced with symbols; nothing is computed.

    Returns:
        A use by the weight's name; empty where the module cannot be traced.
    """
    try:
        graph = fx.symbolic_trace(module)
        walk = _Walk(graph)
        walk.run()
    except Exception:  # a forward pass may do anything with a symbol
        return {}
    fixed, outputs = ({walk.find(group) for group in groups} for groups in (walk.fixed, walk.outputs))
    blocks: dict[int, int] = {}
    for group, count in walk.blocks.items():
        blocks[walk.find(group)] = math.lcm(blocks.get(walk.find(group), 1), count)
    return {name: _use(walk, weight, fixed, outputs, blocks) for name, weight in walk.weights.items()}


def _use(walk: _Walk, weight: _Weight, fixed: set[int], outputs: set[int], blocks: dict[int, int]) -> Use:
    rows = walk.find(weight.rows)
    columns = [walk.find(group) for group in weight.columns]
    if rows not in fixed:
        if rows not in columns:
            return Use(blocks=blocks.get(rows, 1), known=True)
        alone = len(columns) == 1 and blocks.get(rows, 1) == 1 and not weight.flat
        return Use(both_sides=True, known=True) if alone else Use(NOT_SHOWN)
    if rows in outputs:
        return Use(OUTPUT)
    if len(columns) == 1 and columns[0] not in fixed and not weight.flat:
        return Use(side="columns", blocks=blocks.get(columns[0], 1), known=True)
    return Use(NOT_SHOWN)
