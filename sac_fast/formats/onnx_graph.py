"""What an ONNX graph would read, call and allocate, found out before the runtime sees it (extra ``onnx``).

Source: https://onnx.ai/onnx/repo-docs/IR.html and onnx.proto; protobuf's wire format as in `onnx_wire`.
"""

from __future__ import annotations

import contextlib
import math
import os
import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn

with contextlib.suppress(ImportError):  # `onnx_model` names the extra before it calls anything here
    import onnx

from .identify import open_model_file
from .limits import MAX_ONNX_SUBGRAPHS, Limits, refuse, refuse_errors
from .onnx_operators import BUILT_IN
from .onnx_values import check_random, check_values, subgraphs, value_bits
from .onnx_wire import check_fields

_DOMAINS = frozenset(("", "ai.onnx", "ai.onnx.ml"))
# The runtime takes locations with such a word for addresses in its own memory.
_ADDRESSES = ("*", "_ORT_", "MEM_ADDR")


def parse_graph(data: bytes, name: str, limits: Limits) -> Any:
    """Parse a ModelProto after its fields have been counted.

    Raises:
        ModelRefusedError: damaged, or it would need far more memory than it has bytes.
    """
    check_fields(data, onnx.ModelProto.DESCRIPTOR, name, limits)
    model = onnx.ModelProto()
    with refuse_errors(f"{name} must be a sound ONNX file"):
        model.ParseFromString(data)
    return model


def check_graph(model: Any, path: Path, name: str, limits: Limits) -> list[Path]:
    """Check domains, weights, external data and the sizes of all values; large weights are taken out of ``model``.

    Args:
        model: of `parse_graph`; changed.
        path: the file, beside which external data may lie.
        name: what messages call it.
        limits: on number and sizes.

    Returns:
        The files of external data, each checked.

    Raises:
        ModelRefusedError: anything that should not be given to a runtime.
    """
    _check_domains(model, name)
    if len(model.training_info):
        refuse("graph", f"{name} must be a graph for inference, got one with training_info")
    external: set[Path] = set()
    total = 0
    for count, tensor in enumerate(_tensors(model.graph, name), 1):
        limits.check_count(name, count)
        size = _check_tensor(tensor, name)
        total += size
        limits.check_tensor(name, tensor.name, size, total)
        if tensor.data_location:
            external.add(external_place(tensor, size, path, name)[0])
    for place in external:
        open_model_file(place, limits).close()
    check_random(list(_graphs(model.graph, name)), name)
    check_values(model, name, limits, path.stat().st_size)
    return sorted(external)


def _check_domains(model: Any, name: str) -> None:
    # A domain that is declared and not used is none: the tools of onnxruntime declare their own everywhere.
    for graph in _graphs(model.graph, name):
        for node in graph.node:
            if node.domain in _DOMAINS or node.op_type in BUILT_IN.get(node.domain, ()):
                continue
            found = f"{node.op_type[:80]!r} of the domain {node.domain[:80]!r}"
            refuse("custom-domain", f"{name} must use operators of ONNX or built into onnxruntime only, got {found}")
    if len(model.functions):
        refuse(
            "custom-domain",
            f"{name} must use operators of ONNX or built into onnxruntime only, got functions of its own",
        )


def _graphs(graph: Any, name: str, depth: int = 0) -> Iterator[Any]:
    if depth > MAX_ONNX_SUBGRAPHS:
        refuse("graph", f"{name} must nest at most {MAX_ONNX_SUBGRAPHS} graphs, got more")
    yield graph
    for node in graph.node:
        for inner in subgraphs(node):
            yield from _graphs(inner, name, depth + 1)


def _tensors(graph: Any, name: str) -> Iterator[Any]:
    for inner in _graphs(graph, name):
        if len(inner.sparse_initializer):
            refuse("sparse", f"{name} must hold dense weights only, got a sparse initializer")
        yield from inner.initializer
        for node in inner.node:
            for attribute in node.attribute:
                if attribute.HasField("sparse_tensor") or len(attribute.sparse_tensors):
                    refuse("sparse", f"{name} must hold dense weights only, got a sparse attribute of {node.op_type}")
                if attribute.HasField("t"):
                    yield attribute.t
                yield from attribute.tensors


def _check_tensor(tensor: Any, name: str) -> int:
    """Compare a tensor's values with its dimensions; returns its bytes in memory."""
    key = tensor.name[:80]
    if any(side < 0 for side in tensor.dims) or tensor.HasField("segment"):
        refuse("malformed", f"{name} must hold tensors of whole, positive sizes, got {list(tensor.dims)} at {key!r}")
    values: int = math.prod(tensor.dims)
    if tensor.data_type == onnx.TensorProto.STRING:
        refuse("not-numbers", f"{name} must hold numbers only, got texts at {key!r}")
    bits = value_bits(tensor.data_type)
    if not bits:
        refuse("not-dense", f"{name} must hold known dtypes, got number {tensor.data_type} at {key!r}")
    size: int = (values * bits + 7) // 8
    if tensor.data_location:
        return size
    lists = (tensor.float_data, tensor.int32_data, tensor.int64_data, tensor.double_data, tensor.uint64_data)
    stored = sum(map(len, lists))
    if tensor.HasField("raw_data"):
        stored += len(tensor.raw_data)
        values = size
    elif tensor.data_type in (onnx.TensorProto.COMPLEX64, onnx.TensorProto.COMPLEX128):
        values *= 2
    elif bits < 8:
        values = size  # two or four values an int32
    if stored != values:
        reason = "expanded" if stored < values else "malformed"
        refuse(reason, f"{name} must store every value of {key!r}, got {stored:,} where {values:,} are declared")
    return size


def external_place(tensor: Any, size: int, path: Path, name: str) -> tuple[Path, int]:
    """File and offset of a tensor's external data.

    Args:
        tensor: a TensorProto, or what has its ``name`` and ``external_data``.
        size: bytes of its values.
        path: the ONNX file.
        name: what messages call it.

    Raises:
        ModelRefusedError: not a file of its own inside the folder, or not as many bytes.
    """
    said = {entry.key: entry.value for entry in tensor.external_data}
    if not all(isinstance(text, str) for pair in said.items() for text in pair):  # protobuf's way with other texts
        refuse("external-data", f"{name} must say in UTF-8 where its external data is, got other bytes")
    location, key = said.get("location", ""), tensor.name[:80]
    parts = PurePosixPath(location).parts

    def wrong(wanted: str, found: str = "", cause: OSError | None = None) -> NoReturn:
        refuse("external-data", f"{name} must {wanted}, got external data of {key!r} in {location!r}{found}", cause)

    if not parts or location.startswith("/") or ".." in parts or "\\" in location or "\0" in location:
        wrong("keep its weights in its own folder")
    if any(word in location.upper() for word in _ADDRESSES):
        wrong("keep its weights in files, not in memory")
    place = path.parent
    for part in parts:
        place = place / part
        try:
            status = os.lstat(place)
        except OSError as error:
            wrong("come with its weights", f": {error.strerror}", error)
        if stat.S_ISLNK(status.st_mode):
            wrong("keep its weights in its own folder", ", a link")
    if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
        wrong("keep its weights in files of their own", ", a hard link or no file")
    texts = (said.get("offset", "0"), said.get("length", str(size)))
    if not all(text.isascii() and text.isdecimal() and len(text) < 20 for text in texts):
        wrong("give offset and length as numbers")
    offset, length = map(int, texts)
    if length != size or offset + length > status.st_size:
        wrong(f"keep {size:,} bytes there", f" with {status.st_size:,} bytes")
    return place, offset
