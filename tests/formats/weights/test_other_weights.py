"""Keras, TensorFlow.js, .npz and checkpoints in several files as named arrays; what is recognised and not read."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import safetensors.torch
import torch

import sac_fast
from sac_fast.errors import ModelRefusedError
from sac_fast.formats.weights import WeightArray

RNG = np.random.default_rng(5)


def values(*shape: int) -> Any:
    return RNG.standard_normal(shape).astype(np.float32)


def read(path: Path) -> tuple[dict[str, WeightArray], dict[str, Any]]:
    """Arrays, and their values, read while the file is open."""
    with sac_fast.open_weights(path) as opened:
        read_values = {array.name: array.read() for array in opened.arrays}
        assert all(read_values[array.name].shape == array.shape for array in opened.arrays)
        return {array.name: array for array in opened.arrays}, read_values


def uses(found: Mapping[str, WeightArray]) -> dict[str, tuple[str, str, str]]:
    return {name: (array.operator, array.axes, array.gates) for name, array in found.items()}


def reason(path: Path) -> str:
    with pytest.raises(ModelRefusedError) as caught:
        sac_fast.open_weights(path)
    assert repr(str(path)) in str(caught.value)
    return caught.value.reason or ""


KERAS = {
    "conv1d/conv1d/kernel:0": values(5, 3, 8),
    "conv1d/conv1d/bias:0": values(8),
    "conv2d/kernel:0": values(3, 3, 4, 8),
    "conv2d_transpose/kernel:0": values(3, 3, 8, 4),
    "depthwise/depthwise_kernel:0": values(3, 3, 4, 2),
    "norm/gamma:0": values(8),
    "norm/moving_mean:0": values(8),
    "embedding/embeddings:0": values(30, 6),
    "dense/kernel:0": values(6, 10),
    "lstm/lstm_cell/kernel:0": values(6, 20),
    "lstm/lstm_cell/recurrent_kernel:0": values(5, 20),
    "gru/cell/kernel:0": values(6, 15),
    "gru/cell/recurrent_kernel:0": values(5, 15),
}


def test_keras_hdf5(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "w", "w") as file:
        for name, value in KERAS.items():
            file.create_dataset(f"model_weights/{name}", data=value, compression="gzip")
        file["optimizer_weights/kernel:0"] = np.ones((6, 10))
        file["model_weights/text"] = "words"
    found, read_values = read(tmp_path / "w")
    assert set(found) == {f"model_weights/{name}" for name in KERAS}
    for name, value in KERAS.items():
        assert np.array_equal(read_values[f"model_weights/{name}"].reshape(-1), value.reshape(-1))
    assert {name.removeprefix("model_weights/"): use for name, use in uses(found).items()} == {
        "conv1d/conv1d/kernel:0": ("conv", "wio", ""),
        "conv1d/conv1d/bias:0": ("bias", "o", ""),
        "conv2d/kernel:0": ("conv", "hwio", ""),
        "conv2d_transpose/kernel:0": ("conv", "hwoi", ""),
        "depthwise/depthwise_kernel:0": ("depthwise", "hwio", ""),
        "norm/gamma:0": ("norm", "o", ""),
        "norm/moving_mean:0": ("norm", "o", ""),
        "embedding/embeddings:0": ("embedding", "vo", ""),
        "dense/kernel:0": ("dense", "io", ""),
        "lstm/lstm_cell/kernel:0": ("lstm-input", "igo", "ifco"),
        "lstm/lstm_cell/recurrent_kernel:0": ("lstm-hidden", "igo", "ifco"),
        "gru/cell/kernel:0": ("gru-input", "igo", "zrh"),
        "gru/cell/recurrent_kernel:0": ("gru-hidden", "igo", "zrh"),
    }
    assert found["model_weights/depthwise/depthwise_kernel:0"].shape == (3, 3, 1, 8)
    assert found["model_weights/lstm/lstm_cell/kernel:0"].shape == (6, 4, 5)


def keras_archive(**options: Any) -> bytes:
    inside = io.BytesIO()
    with h5py.File(inside, "w") as file:
        file["layers/conv2d/vars/0"] = KERAS["conv2d/kernel:0"]
        file["layers/conv2d/vars/1"] = values(8)
        file["layers/batch_normalization_1/vars/2"] = values(8)
        file["layers/lstm/cell/vars/0"] = KERAS["lstm/lstm_cell/kernel:0"]
        file["layers/lstm/cell/vars/1"] = KERAS["lstm/lstm_cell/recurrent_kernel:0"]
        file["optimizer/vars/0"] = values(8)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", **options) as archive:
        archive.writestr("metadata.json", "{}")
        archive.writestr("config.json", "{}")
        archive.writestr("model.weights.h5", inside.getvalue())
    return buffer.getvalue()


def test_keras_archive(tmp_path: Path) -> None:
    (tmp_path / "w").write_bytes(keras_archive())
    assert sac_fast.identify(tmp_path / "w") == "keras"
    found, read_values = read(tmp_path / "w")
    assert uses(found) == {
        "layers/batch_normalization_1/vars/2": ("norm", "o", ""),
        "layers/conv2d/vars/0": ("conv", "hwio", ""),
        "layers/conv2d/vars/1": ("bias", "o", ""),
        "layers/lstm/cell/vars/0": ("lstm-input", "igo", "ifco"),
        "layers/lstm/cell/vars/1": ("lstm-hidden", "igo", "ifco"),
    }
    assert np.array_equal(read_values["layers/conv2d/vars/0"], KERAS["conv2d/kernel:0"])
    (tmp_path / "w").write_bytes(keras_archive(compression=zipfile.ZIP_DEFLATED))
    assert reason(tmp_path / "w") == "compressed"


def test_hdf5_keeps_to_its_own_arrays(tmp_path: Path) -> None:
    path = tmp_path / "w"
    with h5py.File(path, "w") as file:
        file["a/kernel:0"] = values(3, 4)
        file["a/again"] = file["a"]  # a circle of hard links
    assert set(read(path)[0]) == {"a/kernel:0"}
    for write, expected in (
        (lambda file: file.__setitem__("b", h5py.ExternalLink("/etc/passwd", "x")), "external-link"),
        (lambda file: file.create_dataset("b", (1000, 1000), "f4"), "expanded"),
        (lambda file: file.create_dataset("b", data=values(4, 4), scaleoffset=2), "filter"),
        (lambda file: file.create_dataset("b", (4,), "f8", external=[("/etc/passwd", 0, 32)]), "external-link"),
    ):
        with h5py.File(path, "w") as file:
            write(file)
        assert reason(path) == expected
    with h5py.File(path, "w") as file:
        file["text"] = "words"
    assert reason(path) == "no-state-dict"
    path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(range(256)) * 8)
    assert reason(path) == "malformed"


def test_npz(tmp_path: Path) -> None:
    arrays = {
        "conv1.weight": values(8, 3, 3, 3),
        "other": np.asfortranarray(values(4, 5)),
        "big": values(2).astype(">f4"),
    }
    for save in (np.savez, np.savez_compressed):
        with (tmp_path / "w").open("wb") as handle:
            save(handle, **arrays)
        found, read_values = read(tmp_path / "w")
        assert uses(found) == {
            "conv1.weight": ("conv", "oihw", ""),
            "other": ("unknown", "", ""),
            "big": ("unknown", "", ""),
        }
        for name, value in arrays.items():
            assert np.array_equal(read_values[name], value)
    with (tmp_path / "w").open("wb") as handle:
        np.savez(handle, a=np.array([{}], dtype=object))
    assert reason(tmp_path / "w") == "object-array"


def test_flax_names_are_those_of_keras(tmp_path: Path) -> None:
    safetensors.torch.save_file({"Dense_0.kernel": torch.ones(6, 10)}, tmp_path / "w")
    assert uses(read(tmp_path / "w")[0]) == {"Dense_0.kernel": ("dense", "io", "")}


def tfjs(folder: Path, weights: list[dict[str, Any]], shards: list[bytes], **more: Any) -> Path:
    """A model.json with its shards."""
    for number, shard in enumerate(shards):
        (folder / f"shard{number}.bin").write_bytes(shard)
    paths = [f"shard{number}.bin" for number in range(len(shards))]
    path = folder / "model.json"
    path.write_text(json.dumps({"weightsManifest": [{"paths": paths, "weights": weights}], **more}))
    return path


def test_tensorflow_js(tmp_path: Path) -> None:
    kernel, halves = values(3, 3, 4, 8), values(6, 10).astype(np.float16)
    codes, wide = RNG.integers(0, 256, (8, 2), np.uint8), RNG.integers(0, 65536, 8).astype(np.uint16)
    data = kernel.tobytes() + codes.tobytes() + halves.tobytes() + wide.tobytes()
    weights = [
        {"name": "conv2d/kernel", "shape": [3, 3, 4, 8], "dtype": "float32"},
        {
            **{"name": "dense/kernel", "shape": [8, 2], "dtype": "float32"},
            "quantization": {"dtype": "uint8", "scale": 0.5, "min": -3.0},
        },
        {
            **{"name": "dense_1/kernel", "shape": [6, 10], "dtype": "float32"},
            "quantization": {"dtype": "float16"},
        },
        {
            **{"name": "dense/bias", "shape": [8], "dtype": "float32"},
            "quantization": {"dtype": "uint16", "scale": 0.25, "min": 1},
        },
    ]
    path = tfjs(tmp_path, weights, [data[:1000], data[1000:1010], data[1010:]])
    assert sac_fast.identify(path) == "tfjs"
    found, read_values = read(tmp_path)
    assert uses(found) == {
        "conv2d/kernel": ("conv", "hwio", ""),
        "dense/kernel": ("dense", "io", ""),
        "dense_1/kernel": ("dense", "io", ""),
        "dense/bias": ("bias", "o", ""),
    }
    assert np.array_equal(read_values["conv2d/kernel"], kernel)
    assert np.array_equal(read_values["dense/kernel"], codes * 0.5 - 3)
    assert np.array_equal(read_values["dense_1/kernel"], halves.astype(np.float32))
    assert np.array_equal(read_values["dense/bias"], wide * 0.25 + 1)
    assert (found["dense/kernel"].dtype, read_values["dense/kernel"].dtype) == ("uint8", np.float32)


def test_graph_models_of_tensorflow_js(tmp_path: Path) -> None:
    names = {"a": [3, 3, 4, 8], "b": [3, 3, 8, 2], "c": [6, 10], "d": [10, 6], "e": [2]}
    weights = [{"name": name, "shape": shape, "dtype": "float32"} for name, shape in names.items()]
    count = sum(int(np.prod(shape)) for shape in names.values())
    node = [
        {"op": "_FusedConv2D", "input": ["x", "a", "e"]},
        {"op": "DepthwiseConv2dNative", "input": ["y", "b"]},
        {"op": "MatMul", "input": ["z", "c"], "attr": {"transpose_b": {"b": True}}},
        {"op": "_FusedMatMul", "input": ["z", "d:0"], "attr": {}},
    ]
    tfjs(tmp_path, weights, [values(count).tobytes()], modelTopology={"node": node})
    found, _ = read(tmp_path / "model.json")
    assert uses(found) == {
        "a": ("conv", "hwio", ""),
        "b": ("depthwise", "hwio", ""),
        "c": ("dense", "oi", ""),
        "d": ("dense", "io", ""),
        "e": ("unknown", "", ""),
    }
    assert found["b"].shape == (3, 3, 1, 16)


def test_a_manifest_of_its_own(tmp_path: Path) -> None:
    entry = {"name": "conv0/filters", "shape": [1, 1, 2, 3], "dtype": "float32"}
    (tmp_path / "weights-shard1").write_bytes(np.arange(6, dtype=np.float32).tobytes())
    (tmp_path / "manifest.json").write_text(json.dumps([{"weights": [entry], "paths": ["weights-shard1"]}]))
    assert sac_fast.identify(tmp_path / "manifest.json") == "tfjs"
    found, read_values = read(tmp_path / "manifest.json")
    assert uses(found) == {"conv0/filters": ("conv", "hwio", "")}
    assert read_values["conv0/filters"].reshape(-1).tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"name": 3}, "malformed"),
        ({"shape": [-1]}, "malformed"),
        ({"shape": [1.5]}, "malformed"),
        ({"shape": [3]}, "truncated"),
        ({"shape": [1]}, "malformed"),
        ({"shape": [1 << 40]}, "too-large"),
        ({"dtype": "string"}, "not-dense"),
        ({"quantization": {"dtype": "uint4"}}, "malformed"),
        ({"quantization": {"dtype": "uint8", "scale": float("nan")}}, "malformed"),
    ],
)
def test_hostile_manifests(tmp_path: Path, changed: dict[str, Any], expected: str) -> None:
    entry = {"name": "a", "shape": [2], "dtype": "float32"} | changed
    assert reason(tfjs(tmp_path, [entry], [bytes(8)])) == expected


@pytest.mark.parametrize("location", ["../x", "/etc/passwd", "..", "a/b", "", 3, "a\0"])
def test_parts_lie_in_the_folder(tmp_path: Path, location: Any) -> None:
    manifest = {"weightsManifest": [{"paths": [location], "weights": []}]}
    (tmp_path / "model.json").write_text(json.dumps(manifest))
    assert reason(tmp_path / "model.json") == "external-data"
