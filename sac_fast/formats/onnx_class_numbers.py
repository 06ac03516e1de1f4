"""Which outputs of an ONNX graph are class numbers: positions that ArgMax or TopK found, not values."""

from __future__ import annotations

from typing import Any

# Operators that leave class numbers what they are.
_THROUGH = {"Cast", "Squeeze", "Unsqueeze", "Reshape", "Flatten", "Identity", "Transpose", "Concat"}
_MAX_STEPS = 1_000


def class_number_outputs(model: Any) -> frozenset[str]:
    """Names of the outputs that come from ArgMax, ArgMin or the positions of TopK without arithmetic in between.

    Args:
        model: the ``ModelProto``, checked.
    """
    made_by = {name: (node, place) for node in model.graph.node for place, name in enumerate(node.output) if name}
    found = set()
    for output in model.graph.output:
        name = output.name
        for _ in range(_MAX_STEPS):
            node, place = made_by.get(name, (None, 0))
            if node is None or node.op_type not in (*_THROUGH, "ArgMax", "ArgMin", "TopK"):
                break
            if node.op_type in ("ArgMax", "ArgMin") or (node.op_type == "TopK" and place == 1):
                found.add(output.name)
                break
            if node.op_type == "TopK":
                break
            name = node.input[0]
    return frozenset(found)
