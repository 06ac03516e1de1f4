"""Whatever is changed in a file of weights: a typed refusal, or arrays of the shapes that they are said to have."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.flatbuffers import flatbuffer, tflite
from support.hostile import Maker, marker
from support.hostile_arrays import hdf5_files
from support.hostile_onnx import linear_onnx, onnx_files, varint
from support.hostile_torch import saved, torch_files

import sac_fast
from sac_fast.errors import ModelRefusedError
from sac_fast.formats.limits import REASONS
from sac_fast.formats.onnx_wire import decode_varints

STATE = {"conv.weight": torch.arange(72.0).reshape(2, 4, 3, 3), "lin.weight": torch.ones(4, 6, dtype=torch.bfloat16)}


# A second each, and refused by code that both readers share.
SLOW = {"steps.pth", "onnx-swarm.onnx"}


def keras_bytes(folder: Path) -> bytes:
    with h5py.File(folder / "h5", "w") as file:
        file.create_dataset("a/kernel:0", data=np.ones((4, 6), np.float32), compression="gzip")
        file.create_dataset("b/bias:0", data=np.ones(6))
    return (folder / "h5").read_bytes()


def npz_bytes(folder: Path) -> bytes:
    with (folder / "npz").open("wb") as handle:
        np.savez_compressed(handle, a=np.ones((4, 6)), b=np.ones(3, np.int8))
    return (folder / "npz").read_bytes()


def tflite_bytes(folder: Path) -> bytes:
    arrays = {"w": np.ones((4, 6), np.int8), "b": np.ones(4, np.int32)}
    scales = {"w": {"scales": [1, 2, 3, 4], "zeros": [0, 0, 0, 1], "axis": 0}}
    return flatbuffer(tflite(arrays, [("FULLY_CONNECTED", ["x", "w", "b"], ["y"])], ["y"], scales), b"TFL3")


def tfjs_bytes(folder: Path) -> bytes:
    (folder / "shard.bin").write_bytes(bytes(range(24)))
    how = {"dtype": "uint8", "scale": 0.5, "min": -1}
    weights = [{"name": "dense/kernel", "shape": [4, 6], "dtype": "float32", "quantization": how}]
    return json.dumps({"weightsManifest": [{"paths": ["shard.bin"], "weights": weights}]}).encode()


def sharded_bytes(folder: Path) -> bytes:
    safetensors.torch.save_file(STATE, folder / "part.safetensors")
    return json.dumps({"weight_map": dict.fromkeys(STATE, "part.safetensors")}).encode()


MAKERS: dict[str, Callable[[Path], bytes]] = {
    "safetensors": lambda folder: safetensors.torch.save(STATE, {"base_model": "me/base"}),
    "torch": lambda folder: saved({"model": {"net": STATE}, "epoch": 3}),
    "torch-legacy": lambda folder: saved(STATE, old=True),
    "onnx": lambda folder: linear_onnx(np.ones((12, 3), np.float32)).SerializeToString(),
    "hdf5": keras_bytes,
    "npz": npz_bytes,
    "tflite": tflite_bytes,
    "tfjs": tfjs_bytes,
    "sharded": sharded_bytes,
}


def open_and_read(path: Path) -> str:
    """``"opened"`` once every array was read, or the reason of the refusal."""
    try:
        with sac_fast.open_weights(path) as opened:
            for array in opened.arrays:
                assert array.read().shape == array.shape
        return "opened"
    except ModelRefusedError as error:
        return error.reason or "without a reason"


@pytest.fixture(scope="module")
def contents(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, bytes]]:
    """A folder and a good file of each format."""
    found = {}
    for format, make in MAKERS.items():
        folder = tmp_path_factory.mktemp(format)
        found[format] = (folder, make(folder))
    return found


@pytest.mark.parametrize("format", MAKERS)
def test_good_files_are_read(contents: dict[str, tuple[Path, bytes]], format: str) -> None:
    folder, content = contents[format]
    (folder / "w").write_bytes(content)
    assert sac_fast.identify(folder / "w") == format
    assert open_and_read(folder / "w") == "opened"


@pytest.mark.parametrize("format", MAKERS)
def test_truncated_files_are_refused(contents: dict[str, tuple[Path, bytes]], format: str) -> None:
    folder, content = contents[format]
    step = max(1, len(content) // 25)
    for length in range(0, len(content), step):
        (folder / "w").write_bytes(content[:length])
        # A protobuf cut between two fields is a shorter one; HDF5 may end in unused room.
        assert open_and_read(folder / "w") != "opened" or format in ("onnx", "hdf5")


@pytest.mark.parametrize("format", MAKERS)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_changed_bytes(contents: dict[str, tuple[Path, bytes]], format: str, data: Any) -> None:
    folder, content = contents[format]
    changed = bytearray(content)
    for _ in range(data.draw(st.integers(1, 3))):
        position = data.draw(st.integers(0, len(changed) - 1))
        changed[position] = data.draw(st.sampled_from([0, 1, 2, 127, 128, 255, changed[position] ^ 1]))
    (folder / "w").write_bytes(changed)
    assert open_and_read(folder / "w") in {*REASONS, "opened"}


def test_hostile_files_of_other_readers(tmp_path: Path) -> None:
    """The files that attack who runs a model: none runs anything here either."""
    (tmp_path / ".hidden").mkdir()
    tables = (torch_files(tmp_path), onnx_files(), hdf5_files())
    names = [name for table in tables for name in _make(table, tmp_path)]
    found = {name: open_and_read(tmp_path / name) for name in names}
    assert set(found.values()) <= {*REASONS, "opened"}
    assert not marker(tmp_path).exists()


def _make(table: Mapping[str, tuple[str, Maker]], folder: Path) -> list[str]:
    for name, (_, make) in table.items():
        if name not in SLOW:
            make(folder / name)
    return [name for name in table if name not in SLOW]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, (1 << 64) - 1), max_size=20))
def test_packed_numbers(numbers: list[int]) -> None:
    data = b"".join(map(varint, numbers))
    found = decode_varints(data)
    assert found is not None
    assert found.tolist() == numbers
    assert decode_varints(data + b"\x80") is None


def test_a_bare_pickle_of_tensors_without_their_storages(tmp_path: Path) -> None:
    """Found by fuzzing: the records of a checkpoint, taken out of its archive."""
    torch.save({"a": torch.zeros(3)}, tmp_path / "w.pt")
    with zipfile.ZipFile(tmp_path / "w.pt") as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("data.pkl"))
        (tmp_path / "w.pkl").write_bytes(archive.read(name))
    with pytest.raises(ModelRefusedError) as caught:
        sac_fast.open_weights(tmp_path / "w.pkl")
    assert caught.value.reason == "malformed"
