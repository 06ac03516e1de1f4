"""NumPy arrays inside pickles, as data."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import sac_fast
from sac_fast.errors import ModelRefusedError

RNG = np.random.default_rng(11)
ARRAYS: dict[str, Any] = {
    "conv.weight": RNG.standard_normal((8, 3, 3, 3)).astype(np.float32),
    "columns": np.asfortranarray(RNG.standard_normal((4, 5))),
    "big": np.arange(6, dtype=">f4"),
    "whole": np.arange(200, dtype=np.uint8),
    "none": np.zeros((0, 3)),
}


class Holder:
    """A class that only this test knows."""

    def __init__(self, arrays: dict[str, Any]) -> None:
        self.arrays = arrays


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_arrays_of_every_protocol(tmp_path: Path, protocol: int) -> None:
    value = Holder({**ARRAYS, "text": np.array(["a"]), "objects": np.array([{}], dtype=object)})
    (tmp_path / "w").write_bytes(pickle.dumps(value, protocol))
    with sac_fast.open_weights(tmp_path / "w") as opened:
        assert opened.format == "pickle"
        found = {array.name.removeprefix("arrays."): array for array in opened.arrays}
        read = {name: array.read() for name, array in found.items()}
    assert set(found) == set(ARRAYS)
    assert (found["conv.weight"].operator, found["conv.weight"].axes) == ("conv", "oihw")
    for name, expected in ARRAYS.items():
        assert read[name].shape == expected.shape
        assert np.array_equal(read[name], expected)


def test_arrays_beside_tensors(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(2), "b": np.full(3, 2.0)}, tmp_path / "w")
    with sac_fast.open_weights(tmp_path / "w") as opened:
        assert {array.name: array.read().tolist() for array in opened.arrays} == {"a": [1, 1], "b": [2, 2, 2]}


def test_nothing_is_run(tmp_path: Path) -> None:
    class Payload:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "ran",))

    (tmp_path / "w").write_bytes(pickle.dumps({"a": np.ones(3), "b": Payload()}))
    with sac_fast.open_weights(tmp_path / "w") as opened:
        assert [array.name for array in opened.arrays] == ["a"]
    assert not (tmp_path / "ran").exists()


def test_lying_shapes_and_empty_pickles_are_refused(tmp_path: Path) -> None:
    content = pickle.dumps({"a": np.ones((3, 7))}, 3)
    assert content.count(b"K\x03K\x07\x86") == 1
    (tmp_path / "w").write_bytes(content.replace(b"K\x03K\x07\x86", b"K\x04K\x07\x86"))
    with pytest.raises(ModelRefusedError, match="must hold arrays with all their bytes") as caught:
        sac_fast.open_weights(tmp_path / "w")
    assert caught.value.reason == "malformed"
    (tmp_path / "w").write_bytes(pickle.dumps([1, 2]))
    with pytest.raises(ModelRefusedError) as caught:
        sac_fast.open_weights(tmp_path / "w")
    assert caught.value.reason == "no-state-dict"
