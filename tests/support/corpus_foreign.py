"""Files of the corpus that are recognised by their content and not run: each is refused in a sentence of its own."""

from __future__ import annotations

import io
import json
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from .corpus import WEIGHT, Case, content
from .flatbuffers import flatbuffer, tflite
from .hostile_torch import torch_zip


def protobuf(*numbers: tuple[int, bytes | int]) -> bytes:
    """A message of short fields."""
    out = b""
    for number, value in numbers:
        tag = number << 3 | (0 if isinstance(value, int) else 2)
        out += bytes([tag & 127 | 128, tag >> 7]) if tag > 127 else bytes([tag])
        out += bytes([value]) if isinstance(value, int) else bytes([len(value)]) + value
    return out


def _keras(kind: str) -> Callable[[Path], Any]:
    """An HDF5 file as Keras writes it: a legacy model, its weights, or the weights of Keras 3."""

    def write(path: Path) -> None:
        with h5py.File(path, "w") as file:
            if kind == "model":
                file.attrs["model_config"] = "{}"
                file["model_weights/dense/kernel:0"] = WEIGHT
            elif kind == "weights":
                file.attrs["layer_names"] = [b"dense"]
                file["dense/dense/kernel:0"] = WEIGHT
            else:
                file["layers/dense/vars/0"] = WEIGHT
                file.create_group("vars")

    return write


def _archive(**entries: bytes | str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def _keras_archive() -> bytes:
    inside = io.BytesIO()
    with h5py.File(inside, "w") as file:
        file["layers/dense/vars/0"] = WEIGHT
    return _archive(**{"metadata.json": "{}", "config.json": "{}", "model.weights.h5": inside.getvalue()})


def _tfjs(path: Path) -> None:
    (path.parent / "shard.bin").write_bytes(WEIGHT.tobytes())
    weights = [{"name": "dense/kernel", "shape": [3, 12], "dtype": "float32"}]
    path.write_text(json.dumps({"weightsManifest": [{"paths": ["shard.bin"], "weights": weights}]}))


def foreign_cases() -> list[Case]:
    """All of this module."""
    program = {"constants.pkl": b"", "code/__torch__.py": b""}
    exported = {"archive_format": b"pt2", "models/model.json": b"{}"}
    weights = pickle.dumps({})
    dense = {"weight": np.ones((3, 12), np.float32)}
    lite = flatbuffer(tflite(dense, [("FULLY_CONNECTED", ["x", "weight", ""], ["y"])], ["y"]), b"TFL3")
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n"
    keras = "a Keras model, whose loader runs code; export it to ONNX"
    refused = "unknown-format"
    rows: dict[str, tuple[Any, str, str, str]] = {
        "model.keras": (_keras_archive(), "keras", refused, keras),
        "legacy-model.h5": (_keras("model"), "keras-h5", refused, keras),
        "legacy-weights.h5": (_keras("weights"), "keras-h5", refused, keras),
        "keras-3.weights.h5": (_keras("3"), "keras-h5", refused, keras),
        "tfjs/model.json": (_tfjs, "tfjs", refused, "a model of TensorFlow.js; convert it to ONNX"),
        "model.tflite": (lite, "tflite", refused, "a TFLite model; convert it to ONNX"),
        "model.gguf": (b"GGUF" + struct.pack("<IQQ", 3, 0, 0), "gguf", refused, "a GGUF file; give the checkpoint"),
        "model.ggml": (b"lmgg" + bytes(40), "ggml", refused, "a GGML file; give the checkpoint"),
        "pointer": (pointer, "git-lfs", refused, "git lfs pull"),
        "exported.pt2": (torch_zip(weights, exported), "pt2", "pt2", "torch.export.load"),
        "exported-old.pt2": (torch_zip(b"", {"serialized_exported_program.json": b"{}"}), "pt2", "pt2", "(.pt2)"),
        "script.pt": (torch_zip(weights, program), "torchscript", "torchscript", "torch.jit.load"),
        "saved_model.pb": (protobuf((1, 1), (2, b"graph")), "savedmodel", refused, "convert it to TFLite, ONNX"),
        "model.mlmodel": (protobuf((1, 5), (2, b"about"), (500, b"network")), "coreml", refused, "a Core ML model"),
        "openvino.xml": ('<?xml version="1.0"?>\n<net name="x" version="11">', "openvino", refused, "OpenVINO"),
        "model.ncnn": ("7767517\n3 3\n", "ncnn", refused, "a model of ncnn"),
        "model.pdiparams": (
            bytes(16) + struct.pack("<i", 6) + b"\x08\x05\x10\x02\x10\x03" + bytes(24),
            *("paddle", refused, "paddle2onnx"),
        ),
        "archive": (_archive(**{"readme.md": "words"}), "zip", refused, "a zip archive of another kind"),
        "junk": (bytes(range(1, 200)) * 3, "unknown", refused, "got"),
        "picture": (b"\x89PNG\r\n\x1a\n" + bytes(40), "unknown", refused, "got"),
    }  # fmt: skip
    return [
        *(
            Case(name, made if callable(made) else content(made), *rest)
            for name, (made, *rest) in rows.items()
        ),
        Case("empty", content(b""), None, "empty"),
    ]  # fmt: skip
