"""Texts in ONNX files that are no UTF-8: wherever they stand, protobuf gives bytes where a text is expected."""

import contextlib
from pathlib import Path

import numpy as np
import pytest
from onnx import helper
from support.hostile_onnx import linear_onnx

from sac_fast.errors import ModelRefusedError
from sac_fast.formats.weights.opening import open_weights
from sac_fast.models import ModelEntry, open_model

TEXT = "QQQQQQ"


def model(place: str) -> bytes:
    made = linear_onnx(np.ones((12, 3), np.float32))
    graph = made.graph
    old = graph.initializer[0].name
    if place == "weight":
        graph.initializer[0].name = TEXT
        for node in graph.node:
            node.input[:] = [TEXT if text == old else text for text in node.input]
    elif place == "attribute":
        graph.node[0].attribute.append(helper.make_attribute("note", TEXT))
        graph.node[0].attribute[-1].name = TEXT
    elif place == "metadata":
        helper.set_model_props(made, {TEXT: TEXT})
    elif place == "dimension":
        graph.output[0].type.tensor_type.shape.dim[0].dim_param = TEXT
    elif place == "domain":
        made.opset_import[0].domain = TEXT
    else:
        setattr({"graph": graph, "node": graph.node[0], "model": made}[place.split(".")[0]], place.split(".")[1], TEXT)
    return made.SerializeToString()


@pytest.mark.parametrize(
    "place",
    ["weight", "attribute", "metadata", "dimension", "domain", "graph.name", "node.name", "node.op_type",
     "node.doc_string", "model.producer_name"],
)  # fmt: skip
def test_they_are_refused(tmp_path: Path, place: str) -> None:
    content = model(place)
    assert TEXT.encode() in content
    path = tmp_path / "a.onnx"
    path.write_bytes(content.replace(TEXT.encode(), b"QQ\xe5QQ\xff"))
    with pytest.raises(ModelRefusedError, match="must hold texts in UTF-8, got b'QQ") as caught:
        open_model(ModelEntry("a", path))
    assert caught.value.reason == "malformed"
    with contextlib.suppress(ModelRefusedError), open_weights(path) as weights:
        assert all(len(array.read()) for array in weights.arrays)
