"""Formats that are recognised and not read: what they are, and what to do instead."""

from __future__ import annotations

import struct
from typing import BinaryIO, NoReturn

from . import magic
from .limits import refuse
from .onnx_wire import top_fields

#: By the name that `identify` gives: what the file is, and what to give instead.
NOT_READ = {
    "git-lfs": ("a pointer of Git LFS, which stands for a file of weights", "fetch the file itself with git lfs pull"),
    "gguf": ("a GGUF file", "give the checkpoint that it was converted from"),
    "ggml": ("a GGML file", "give the checkpoint that it was converted from"),
    "paddle": ("weights of PaddlePaddle", "convert the model with paddle2onnx"),
    "savedmodel": ("a TensorFlow SavedModel", "convert it to TFLite, ONNX or Keras"),
    "coreml": ("a Core ML model", "give the model that it was converted from"),
    "openvino": ("a model of OpenVINO", "give the model that it was converted from"),
    "ncnn": ("a model of ncnn", "give the model that it was converted from"),
    "pt2": ("an exported PyTorch program (.pt2)", "load it with torch.export.load and save its state_dict"),
    "npy": ("one array without a name", "save the arrays as .npz or safetensors"),
    "csv": ("a table of text", "give a file of weights"),
    "fingerprint": ("a fingerprint, which holds outputs of a model", "give the model's own file"),
    **dict.fromkeys(("probes", "inputs"), ("a probe set", "give a model's file")),
    "pack": ("a pack of many models' outputs", "give a model's file"),
    "zip": ("a zip archive of another kind", "give the file of weights inside it"),
}
#: Formats whose weights `open_weights` reads, and that hold no model that can be run here.
WEIGHTS_ONLY = {
    "sharded": "an index of a checkpoint in several files",
    "pickle": "a plain pickle, which runs code when it is loaded",
    **dict.fromkeys(("keras", "keras-h5"), "a Keras model, whose loader runs code; export it to ONNX to run it"),
    "tfjs": "a model of TensorFlow.js; convert it to ONNX to run it",
    "tflite": "a TFLite model; convert it to ONNX to run it",
}


def not_read_kind(handle: BinaryIO, head: bytes) -> str | None:
    """Which of the formats that are not read a file has; None for none of them.

    Args:
        handle: the open file.
        head: its first bytes.
    """
    for format, starts in magic.NOT_READ.items():
        if head.startswith(starts):
            return format
    if head.lstrip().startswith(b"<") and b"<net " in head:
        return "openvino"
    if len(head) > 20 and not any(head[:16]) and 0 < struct.unpack_from("<i", head, 16)[0] <= 512 and head[20] == 8:
        return "paddle"  # version, levels of detail, version of the tensor, and its description as protobuf
    fields = top_fields(handle)
    if fields[:1] != [(1, 0)]:
        return None
    if all(field in ((1, 0), (2, 2)) for field in fields) and (2, 2) in fields:
        return "savedmodel"
    if all(field in ((1, 0), (2, 2), (10, 0)) or (field[0] >= 200 and field[1] == 2) for field in fields):
        return "coreml" if fields[-1][0] >= 200 else None
    return None


def refuse_format(format: str, name: str, wanted: str) -> NoReturn:
    """Refuse a file by its format, in a sentence that says what to do.

    Args:
        format: of `identify`.
        name: what messages call the file.
        wanted: what was expected.
    """
    if format in WEIGHTS_ONLY:
        refuse("unknown-format", f"{name} must be {wanted}, got {WEIGHTS_ONLY[format]}; open_weights reads its arrays")
    found, remedy = NOT_READ.get(format, ("a file whose content is of no known format", ""))
    refuse("unknown-format", f"{name} must be {wanted}, got {found}" + (f"; {remedy}" if remedy else ""))
