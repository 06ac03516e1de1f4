"""The order of an ONNX graph's nodes: onnxruntime sorts them itself, while onnx's checker wants them sorted."""

from __future__ import annotations

import heapq
from collections import defaultdict
from typing import Any


def sort_nodes(graph: Any) -> None:
    """Bring nodes behind those whose outputs they take, else in the order that they have; circles stay as they are.

    Args:
        graph: a GraphProto, changed in place.
    """
    makers = {name: index for index, node in enumerate(graph.node) for name in node.output if name}
    needed = [{makers[name] for name in _names_taken(node) if name in makers} for node in graph.node]
    if all(maker < index for index, some in enumerate(needed) for maker in some):
        return
    takers: defaultdict[int, list[int]] = defaultdict(list)
    for index, some in enumerate(needed):
        for maker in some:
            takers[maker].append(index)
    left = [len(some) for some in needed]
    ready = [index for index, count in enumerate(left) if not count]
    order = []
    while ready:
        index = heapq.heappop(ready)
        order.append(index)
        for taker in takers[index]:
            left[taker] -= 1
            if not left[taker]:
                heapq.heappush(ready, taker)
    if len(order) == len(graph.node):
        nodes = [type(node).FromString(node.SerializeToString()) for node in (graph.node[index] for index in order)]
        del graph.node[:]
        graph.node.extend(nodes)


def _names_taken(node: Any) -> set[str]:
    """Inputs of a node, and of the nodes of its graphs: those may be values of the graph around them."""
    names: set[str] = set()
    waiting = [node]
    while waiting:
        found = waiting.pop()
        names.update(found.input)
        for attribute in found.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                waiting += inner.node
                names.update(value.name for value in inner.output)
    return names
