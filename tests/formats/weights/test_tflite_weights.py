"""TFLite models as named arrays; files are written by hand after the schema."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.flatbuffers import Scalar, flatbuffer, tflite

import sac_fast
from sac_fast.errors import ModelRefusedError

RNG = np.random.default_rng(3)


def values(*shape: int, dtype: Any = np.float32) -> Any:
    if np.issubdtype(dtype, np.integer):
        return RNG.integers(0, 100, shape).astype(dtype)
    return RNG.standard_normal(shape).astype(dtype)


ARRAYS = {
    "conv": values(8, 3, 3, 4),
    "conv bias": values(8),
    "depth": values(1, 3, 3, 8),
    "half": values(6, 8, dtype=np.float16),
    "rows": values(5, 6, dtype=np.int8),
    "whole": values(5, 5, dtype=np.uint8),
    "bias": values(5, dtype=np.int32),
    "table": values(4, dtype=np.int32),
    **{f"input {gate}": values(3, 5) for gate in "ifco"},
    **{f"hidden {gate}": values(3, 3) for gate in "ifco"},
    "last": values(2, 3),
}
SCALES = {
    "rows": {"scales": [0.5, 1, 2, 3, 4], "zeros": [0, 0, 1, 0, 2], "axis": 0},
    "whole": {"scales": [0.25], "zeros": [128]},
    "bias": {"scales": [0.125], "zeros": [0]},
}
NODES = [
    ("CONV_2D", ["x", "conv", "conv bias"], ["a"]),
    ("DEPTHWISE_CONV_2D", ["a", "depth"], ["b"]),
    ("DEQUANTIZE", ["half"], ["single"]),
    ("FULLY_CONNECTED", ["b", "single"], ["c"]),
    ("FULLY_CONNECTED", ["c", "rows"], ["d"]),
    ("FULLY_CONNECTED", ["d", "whole", "bias"], ["e"]),
    (
        "UNIDIRECTIONAL_SEQUENCE_LSTM",
        ["e", *(f"input {gate}" for gate in "ifco"), *(f"hidden {gate}" for gate in "ifco")],
        ["f"],
    ),
    ("FULLY_CONNECTED", ["f", "last"], ["g"]),
    ("RELU", ["g"], ["y"]),
]


def content(**changed: Any) -> bytes:
    return flatbuffer(tflite(ARRAYS, NODES, ["y"], SCALES) | changed, b"TFL3")


def test_operators_axes_and_values(tmp_path: Path) -> None:
    (tmp_path / "m").write_bytes(content())
    assert sac_fast.identify(tmp_path / "m") == "tflite"
    with sac_fast.open_weights(tmp_path / "m") as opened:
        found = {array.name: array for array in opened.arrays}
        read = {name: array.read() for name, array in found.items()}
        assert opened.graph is not None
        assert (opened.graph.inputs, opened.graph.outputs) == (("x",), ("y",))
        assert opened.graph.nodes[0].inputs == ("x", "conv", "conv bias")
        assert opened.claims["metadata"] == {"description": "made for a test"}
    assert set(found) == set(ARRAYS) - {"table"}
    assert {name: (array.operator, array.axes, array.output) for name, array in found.items() if "put" not in name} == {
        "conv": ("conv", "ohwi", False),
        "conv bias": ("bias", "o", None),
        "depth": ("depthwise", "ihwo", False),
        "half": ("dense", "oi", False),
        "rows": ("dense", "oi", False),
        "whole": ("dense", "oi", False),
        "bias": ("bias", "o", None),
        **{f"hidden {gate}": ("lstm-hidden", "goi", None) for gate in "ifco"},
        "last": ("dense", "oi", True),
    }
    assert (found["input c"].operator, found["input c"].gates, found["input c"].shape) == ("lstm-input", "c", (1, 3, 5))
    for name in ("conv", "depth", "half", "last"):
        assert np.array_equal(read[name], ARRAYS[name])
    assert found["rows"].dtype == "int8"
    expected = (ARRAYS["rows"].astype(float) - [[0], [0], [1], [0], [2]]) * [[0.5], [1], [2], [3], [4]]
    assert np.array_equal(read["rows"], expected)
    assert np.array_equal(read["whole"], (ARRAYS["whole"].astype(float) - 128) * 0.25)
    assert np.array_equal(read["bias"], ARRAYS["bias"] * 0.125)


def reason(path: Path, found: bytes) -> str:
    path.write_bytes(found)
    with pytest.raises(ModelRefusedError) as caught:
        sac_fast.open_weights(path)
    return caught.value.reason or ""


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    whole = content()
    found = {reason(tmp_path / "m", whole[:length]) for length in range(8, len(whole) - 8, 37)}
    assert found <= {"truncated", "malformed", "expanded"}


def test_a_lying_shape_and_a_foreign_number_are_refused(tmp_path: Path) -> None:
    model = tflite(ARRAYS, NODES, ["y"], SCALES)
    model[2][0][0][1][0].values[1] = 1 << 30
    assert reason(tmp_path / "m", flatbuffer(model, b"TFL3")) == "expanded"
    for place, field in ((0, 2), (3, 0)):
        model = tflite(ARRAYS, NODES, ["y"], SCALES)
        model[2][0][place][1][field] = Scalar("<I", 1000)
        assert reason(tmp_path / "m", flatbuffer(model, b"TFL3")) == "malformed"
    model = tflite(ARRAYS, NODES, ["y"], SCALES)
    model[2][0][0][1][6] = {}
    assert reason(tmp_path / "m", flatbuffer(model, b"TFL3")) == "sparse"


def test_one_table_referred_to_many_times_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand operators that are one with a thousand inputs."""
    monkeypatch.setattr("sac_fast.formats.weights.flatbuffer.MAX_FLATBUFFER_VALUES", 50_000)
    model = tflite(ARRAYS, [*NODES, ("RELU", ["y"], ["z"])], ["y"])
    model[2][0][3][-1][1].values = np.full(1000, 0, "<i4")
    model[2][0][3] += [model[2][0][3][0]] * 1000
    whole = bytearray(flatbuffer(model, b"TFL3"))
    root = int.from_bytes(whole[:4], "little")
    operators = _vector(whole, _field(whole, _element(whole, _vector(whole, _field(whole, root, 2)), 0), 3))
    target = _element(whole, operators, len(NODES))
    for number in range(1000):
        place = operators + 4 + 4 * number
        if target > place:
            whole[place : place + 4] = (target - place).to_bytes(4, "little")
    assert reason(tmp_path / "m", bytes(whole)) == "expanded"


def _field(data: bytearray, table: int, number: int) -> int:
    vtable = table - int.from_bytes(data[table : table + 4], "little", signed=True)
    return table + int.from_bytes(data[vtable + 4 + 2 * number : vtable + 6 + 2 * number], "little")


def _vector(data: bytearray, place: int) -> int:
    return place + int.from_bytes(data[place : place + 4], "little")


def _element(data: bytearray, vector: int, number: int) -> int:
    place = vector + 4 + 4 * number
    return place + int.from_bytes(data[place : place + 4], "little")
