"""What a file of weights holds: named arrays, how their axes lie, and which operator uses them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import numpy.typing as npt

#: What uses an array.
OPERATORS = (
    *("conv", "depthwise", "dense", "embedding", "norm", "lstm-input", "lstm-hidden", "gru-input", "gru-hidden"),
    *("bias", "constant", "unknown"),
)

#: An attribute of a graph's node: numbers, a text, or several of them.
Attribute = int | float | str | tuple[int, ...] | tuple[float, ...]


@dataclass(frozen=True, eq=False)
class WeightArray:
    """One array of a file.

    Attributes:
        name: as the file has it; dotted where it lies in nested mappings.
        shape: of what `read` gives.
        dtype: how the file stores it: ``"float32"``, ``"bfloat16"``, ``"int8"``.
        axes: a letter an axis in stored order: ``o`` output units, ``i`` inputs, ``d``, ``h``, ``w`` the places of a
            kernel, ``g`` the gates of a recurrent layer, ``v`` the entries of an embedding; ``""`` where it is not
            known. Depthwise kernels have ``i`` of 1 and their channels in ``o``.
        operator: one of `OPERATORS`.
        read: reads the values: a NumPy array of ``shape``, dequantised where the file is quantised (float32), float32
            for bfloat16 and float8, else of ``dtype``.
        gates: the gates in stored order, ``i`` input, ``f`` forget, ``g`` or ``c`` cell, ``o`` output of an LSTM;
            ``r`` reset, ``z`` update, ``n`` or ``h`` new of a GRU; ``""`` where there are none.
        output: whether nothing that has weights follows in the graph; None: not known.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    axes: str
    operator: str
    read: Callable[[], npt.NDArray[Any]] = field(repr=False)
    gates: str = ""
    output: bool | None = None


@dataclass(frozen=True)
class GraphNode:
    """One operator of a graph.

    Attributes:
        op: its type as the file names it: ``"Conv"``, ``"FULLY_CONNECTED"``.
        inputs: names of values and arrays; ``""`` for one that is left out.
        outputs: names of values.
        attributes: small ones; no arrays, no subgraphs.
    """

    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Attribute] = field(default_factory=dict)


@dataclass(frozen=True)
class Graph:
    """The operators of a file, those of inner graphs (both branches of an If) among them, in the file's order.

    Names are unique: what an inner graph defines carries that graph's name before its own. A node that holds graphs
    takes what their outputs are as further inputs, so that a walk over inputs and outputs goes through it.

    Attributes:
        nodes: the operators.
        inputs: names of the outer graph's inputs, without those that are arrays of the file.
        outputs: names of the outer graph's outputs.
    """

    nodes: tuple[GraphNode, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


class OpenedWeights:
    """A file of weights that is open; a context manager.

    Attributes:
        arrays: all arrays, in the file's order.
        format: as `sac_fast.identify` names it; ``"sharded"`` for an index with its shards.
        claims: what the file and what lies beside it say of its origin: ``names``, ``base_models``, ``metadata``, see
            `sac_fast.formats.weights.claims.read_claims`; nothing of it is checked.
        graph: the operators, where the format has them.
    """

    def __init__(
        self,
        arrays: tuple[WeightArray, ...],
        format: str,
        claims: Mapping[str, Any],
        graph: Graph | None,
        resources: contextlib.ExitStack,
    ) -> None:
        self.arrays = arrays
        self.format = format
        self.claims = dict(claims)
        self.graph = graph
        self._resources = resources

    def close(self) -> None:
        """Close the files; arrays can no longer be read."""
        self._resources.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"OpenedWeights({self.format!r}, {len(self.arrays)} arrays)"
