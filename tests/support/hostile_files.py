"""Files that attack whoever opens them, each with the reason for which it must be refused.

`make_hostile_folder` writes all of them; payloads would create the file `marker(folder)`.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch

Maker = Callable[[Path], None]


def marker(folder: Path) -> Path:
    """What a payload makes when it is run; its name is hidden, so that no scan lists it."""
    return folder / ".marker-of-a-payload"


def make_hostile_folder(folder: Path) -> dict[str, str]:
    """Write every hostile file into an existing folder.

    Returns:
        Name -> the reason of the `ModelRefusedError`.
    """
    (folder / ".hidden").mkdir()
    reasons = {}
    for table in (_safetensors(), _torch(folder), _arrays(folder), _hdf5(), _onnx(), _no_files()):
        for name, (reason, make) in table.items():
            make(folder / name)
            reasons[name] = reason
    return reasons


class Payload:
    """Pickles to a call that makes the marker."""

    def __init__(self, folder: Path) -> None:
        self.path = str(marker(folder))

    def __reduce__(self) -> Any:
        return os.mkdir, (self.path,)


def _bytes(content: bytes) -> Maker:
    return lambda path: path.write_bytes(content) and None


# safetensors


def safetensors_file(header: bytes | dict[str, Any], data: bytes = b"", length: int | None = None) -> bytes:
    """A safetensors file with any header."""
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw) if length is None else length) + raw + data


def _entry(start: int, stop: int, shape: Any = None, dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": [(stop - start) // 4] if shape is None else shape, "data_offsets": [start, stop]}


def _safetensors() -> dict[str, tuple[str, Maker]]:
    one = json.dumps(_entry(0, 8))
    cases: dict[str, tuple[str, bytes]] = {
        "duplicate-keys": ("duplicate-keys", safetensors_file(f'{{"a": {one}, "a": {one}}}'.encode(), bytes(8))),
        "duplicate-escaped": (
            "duplicate-keys",
            safetensors_file(f'{{"a": {one}, "\\u0061": {one}}}'.encode(), bytes(8)),
        ),
        "duplicate-field": (
            "duplicate-keys",
            safetensors_file(
                b'{"a": {"dtype": "F32", "dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}', bytes(8)
            ),
        ),
        "duplicate-metadata": (
            "duplicate-keys",
            safetensors_file(f'{{"__metadata__": {{}}, "__metadata__": {{}}, "a": {one}}}'.encode(), bytes(8)),
        ),
        "overlap": ("overlap", safetensors_file({"a": _entry(0, 8), "b": _entry(4, 12)}, bytes(12))),
        "shared": ("overlap", safetensors_file({"a": _entry(0, 8), "b": _entry(0, 8)}, bytes(8))),
        "gap": ("gap", safetensors_file({"a": _entry(0, 8), "b": _entry(12, 20)}, bytes(20))),
        "gap-first": ("gap", safetensors_file({"a": _entry(4, 8)}, bytes(8))),
        "tail": ("gap", safetensors_file({"a": _entry(0, 8)}, bytes(9))),
        "truncated": ("truncated", safetensors_file({"a": _entry(0, 8)}, bytes(7))),
        "truncated-header": ("truncated", safetensors_file({"a": _entry(0, 8)}, bytes(8))[:40]),
        "long-header": ("too-large", safetensors_file(b"{}", length=1 << 39)),
        "negative": ("malformed", safetensors_file({"a": _entry(0, 8, [-2])}, bytes(8))),
        "backwards": ("malformed", safetensors_file({"a": _entry(8, 0, [2])}, bytes(8))),
        "empty-overflow": ("malformed", safetensors_file({"a": _entry(0, 0, [0, 1 << 62, 4])})),
        "lying-shape": ("malformed", safetensors_file({"a": _entry(0, 8, [3])}, bytes(8))),
        "overflow": ("too-large", safetensors_file({"a": _entry(0, 0, [1 << 32, 1 << 32])})),
        "huge": ("too-large", safetensors_file({"a": _entry(0, 1 << 45)})),
        "float-shape": ("malformed", safetensors_file({"a": _entry(0, 8, [2.0])}, bytes(8))),
        "bool-shape": ("malformed", safetensors_file({"a": _entry(0, 4, [True])}, bytes(4))),
        "dtype": ("not-dense", safetensors_file({"a": _entry(0, 8, [2], "F33")}, bytes(8))),
        "field": ("malformed", safetensors_file({"a": {**_entry(0, 8), "more": 1}}, bytes(8))),
        "json": ("malformed", safetensors_file(b'{"a": {"dtype": "F32"', bytes(8))),
        "deep": ("malformed", safetensors_file(b'{"a": ' + b"[" * 100_000, bytes(8))),
        "deep-metadata": ("malformed", safetensors_file(b'{"__metadata__": {"a": ' + b"[" * 100_000, bytes(8))),
        "not-utf8": ("malformed", safetensors_file(b'{"\xff": {}}', bytes(8))),
        "surrogate": ("malformed", safetensors_file(f'{{"\\ud800": {one}}}'.encode(), bytes(8))),
        "after-the-end": ("malformed", safetensors_file(f'{{"a": {one}}} {{}}'.encode(), bytes(8))),
        "many": ("too-many-tensors", safetensors_file({f"{i}": _entry(0, 0, [0]) for i in range(50_001)})),
        "hash": (
            "damaged",
            safetensors_file(
                {"__metadata__": {"sac_fast.weights_hash": "sha256:" + "0" * 64}, "a": _entry(0, 8)}, bytes(8)
            ),
        ),
        "nan-outputs": ("not-finite", safetensors_file({"outputs": _entry(0, 8, [2, 1])}, b"\xff" * 8)),
        "wrong-outputs": ("wrong-shape", safetensors_file({"outputs": _entry(0, 8, [2, 1, 1])}, bytes(8))),
    }
    return {f"st-{name}.safetensors": (reason, _bytes(content)) for name, (reason, content) in cases.items()}


# torch


def torch_zip(pickled: bytes, records: Mapping[str, bytes], **options: Any) -> bytes:
    """An archive like torch.save's with any pickle."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", **options) as archive:
        for name, content in {"data.pkl": pickled, "byteorder": b"little", "version": b"3\n", **records}.items():
            archive.writestr(f"archive/{name}", content)
    return buffer.getvalue()


def saved(value: Any, *, old: bool = False) -> bytes:
    """What torch.save writes."""
    buffer = io.BytesIO()
    torch.save(value, buffer, _use_new_zipfile_serialization=not old)
    return buffer.getvalue()


def _changed_pickle(content: bytes, old: bytes, new: bytes) -> bytes:
    """An archive of torch.save with its pickle changed."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries = {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}
    pickled = entries.pop("data.pkl")
    assert pickled.count(old) == 1
    return torch_zip(pickled.replace(old, new), {k: v for k, v in entries.items() if k.startswith("data/")})


def two_names_zip() -> bytes:
    """Directory entries of different names for one entry."""
    content = torch_zip(b"\x80\x02}q\x00.", {"data/0": bytes(1000)})
    last = _directory(content)[-1]
    return _with_entries(content, [last.replace(b"archive/data/0", b"archive/data/%d" % i) for i in range(1, 10)])


def overlapping_zip() -> bytes:
    """An entry that lies in the bytes of another, with headers of its own: each byte would be read twice."""
    inner = torch_zip(b"\x80\x02}q\x00.", {"data/1": bytes(1000)})
    entry = _directory(inner)[-1]
    start = struct.unpack_from("<L", entry, 42)[0]
    quoted = inner[start : start + 30 + len(b"archive/data/1") + 1000]
    outer = torch_zip(b"\x80\x02}q\x00.", {"data/0": quoted})
    return _with_entries(outer, [entry[:42] + struct.pack("<L", outer.index(quoted)) + entry[46:]])


def _directory(content: bytes) -> list[bytes]:
    end = struct.unpack("<4s4H2LH", content[-22:])
    directory = content[end[6] : end[6] + end[5]]
    return [b"PK\x01\x02" + part for part in directory.split(b"PK\x01\x02")[1:]]


def _with_entries(content: bytes, more: list[bytes]) -> bytes:
    end = struct.unpack("<4s4H2LH", content[-22:])
    added = b"".join(more)
    count = end[4] + len(more)
    new_end = struct.pack("<4s4H2LH", end[0], 0, 0, count, count, end[5] + len(added), end[6], 0)
    return content[:-22] + added + new_end


def _dict_zip(pairs: bytes, records: Mapping[str, bytes] | None = None) -> bytes:
    """A checkpoint whose pickle is one dict of these keys and values, each with its SETITEM."""
    return torch_zip(b"\x80\x02}" + pairs + b".", records or {})


def _renamed(content: bytes, old: bytes, new: bytes) -> bytes:
    """An archive of torch.save with an entry more, of the same bytes by another name."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries = {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}
    place = "@" * len(new)  # zipfile would change some names
    pickled = entries.pop("data.pkl")
    return torch_zip(pickled, {**entries, place: entries.get(old.decode(), pickled)}).replace(place.encode(), new)


_NAME = b"X\x01\x00\x00\x00a"
_DOUBLED = b")" + b"2\x86" * 60  # a tuple of twice itself, sixty times over


# A sound tensor of four values, then BUILD: torch would call its set_ with a terabyte of stride 0.
_STORAGE = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x04tQ"
_STATED = (
    b"ctorch._utils\n_rebuild_tensor_v2\n(" + _STORAGE + b"K\x00K\x04\x85K\x01\x85\x89ccollections\nOrderedDict\n)RtR"
    b"(" + _STORAGE + b"K\x00\x8a\x06" + (1 << 40).to_bytes(6, "little") + b"\x85K\x00\x85tb"
)


def _same_hash(count: int) -> bytes:
    """Keys that all have the hash 0: multiples of 2**61 - 1."""
    numbers = (pickle.encode_long(((1 << 61) - 1) * (1 + i)) for i in range(count))
    return b"".join(b"\x8a" + bytes([len(number)]) + number + b"Ns" for number in numbers)


def _parameters(count: int) -> bytes:
    """A parameter of a parameter of … a number."""
    return b"ctorch._utils\n_rebuild_parameter\nq\x00" + b"h\x00" * (count - 1) + b"K\x00" + b"\x85R" * count


def _lying_sparse() -> torch.Tensor:
    with torch.sparse.check_sparse_tensor_invariants(enable=False):
        return torch.sparse_coo_tensor(torch.tensor([[1 << 40]]), torch.ones(1), (2,), check_invariants=False)


def _torch(folder: Path) -> dict[str, tuple[str, Maker]]:
    payload, plain = Payload(folder), saved({"a": torch.arange(4.0)})
    offset = b"QK\x00K\x04\x85q\x08"  # offset 0, size (4,)
    strange = torch_zip(b"\x80\x02}q\x00.", {})
    cases: dict[str, tuple[str, bytes]] = {
        "payload.pth": ("pickle", saved({"a": payload})),
        "payload-old.pth": ("pickle", saved({"a": payload}, old=True)),
        "payload.pkl": ("pickle", pickle.dumps({"a": payload})),
        "payload-first.pkl": ("pickle", pickle.dumps(payload, protocol=4)),
        "module.pt": ("pickle", saved(torch.nn.Linear(2, 2))),
        "torchscript.pt": (
            "torchscript",
            torch_zip(pickle.dumps(payload), {"constants.pkl": b"", "code/__torch__.py": b""}),
        ),
        "exported.pt2": (
            "pt2",
            torch_zip(pickle.dumps(payload), {"archive_format": b"pt2", "models/model.json": b"{}"}),
        ),
        "exported-old.pt2": ("pt2", torch_zip(b"", {"serialized_exported_program.json": b"{}"})),
        "compressed.pth": (
            "compressed",
            torch_zip(b"\x80\x02}q\x00.", {"data/0": bytes(10_000_000)}, compression=zipfile.ZIP_DEFLATED),
        ),
        "overlapping.pth": ("overlap", overlapping_zip()),
        "two-names.pth": ("malformed", two_names_zip()),
        "cut.pth": ("truncated", plain[:-50]),
        "cut-early.pth": ("truncated", plain[:100]),
        "cut-old.pth": ("truncated", saved({"a": torch.arange(400.0)}, old=True)[:-4]),
        "comment.pth": ("truncated", plain + b"PK\x05\x06" + bytes(10)),
        "other.zip": ("unknown-format", strange.replace(b"data.pkl", b"data.txt")),
        "expanded.pth": ("expanded", saved({"a": torch.zeros(1).expand(100_000, 100_000)})),
        "expanded-old.pth": ("expanded", saved({"a": torch.zeros(1).expand(100_000, 10_000)}, old=True)),
        "expanded-little.pth": ("expanded", saved({"a": torch.zeros(1).expand(3)})),
        "long-storage.pth": (
            "malformed",
            _changed_pickle(plain, b"X\x03\x00\x00\x00cpuq\x06K\x04", b"X\x03\x00\x00\x00cpuq\x06J\xff\xff\xff\x7f"),
        ),
        "beyond-storage.pth": ("malformed", _changed_pickle(plain, offset, b"QK\x02K\x04\x85q\x08")),
        "negative.pth": ("malformed", _changed_pickle(plain, offset, b"QJ\xff\xff\xff\xffK\x04\x85q\x08")),
        "no-record.pth": ("truncated", _changed_pickle(plain, b"X\x01\x00\x00\x000q\x05", b"X\x01\x00\x00\x001q\x05")),
        "views.pth": ("expanded", saved({f"{i}": big for big in [torch.zeros(1 << 20)] for i in range(40)})),
        "sparse.pth": ("sparse", saved({"a": _lying_sparse()})),
        "sparse-old.pth": ("sparse", saved({"a": _lying_sparse()}, old=True)),
        "meta.pth": ("not-dense", saved({"a": torch.empty(2, device="meta")})),
        "list.pth": ("no-state-dict", saved([torch.zeros(1)])),
        "number.pth": ("not-dense", saved({"a": 3})),
        "steps.pth": ("too-large", torch_zip(b"\x80\x02" + b"]" * 2_000_000 + b".", {})),
        "memo.pth": ("too-large", torch_zip(b"\x80\x02]r\x00\x00\x00\x7f.", {})),
        "deep.pth": (
            "not-dense",
            torch_zip(b"\x80\x02}X\x01\x00\x00\x00a" + b"]" * 50_000 + b"a" * 49_999 + b"s.", {}),
        ),
        "doubled-key.pth": ("too-large", _dict_zip(_DOUBLED + b"Ns")),
        "doubled-in-list.pth": (
            "malformed",
            torch_zip(b"\x80\x02ccollections\nOrderedDict\n]" + _DOUBLED + b"N\x86a\x85R.", {}),
        ),
        "doubled-storage.pth": ("malformed", _dict_zip(_NAME + _DOUBLED + b"Qs")),
        "deep-key.pth": ("too-large", _dict_zip(b")" + b"\x85" * 50_000 + b"Ns")),
        "same-hash.pth": ("too-large", _dict_zip(_same_hash(40_000))),
        "parameters.pth": ("not-dense", _dict_zip(_NAME + _parameters(3000) + b"s")),
        "dimensions.pth": (
            "malformed",
            _changed_pickle(
                plain, offset + b"K\x01\x85q\t", b"QK\x00(" + b"K\x01" * 65 + b"tq\x08(" + b"K\x01" * 65 + b"tq\t"
            ),
        ),
        "huge-dimension.pth": (
            "malformed",
            _changed_pickle(plain, offset, b"QK\x00\x8a\xff" + b"\xff" * 254 + b"\x7f\x85q\x08"),
        ),
        "case.pth": ("duplicate-keys", _renamed(plain, b"data.pkl", b"DATA.PKL")),
        "nul.pth": ("malformed", _renamed(plain, b"data/0", b"data\00")),
        "state.pth": ("malformed", _dict_zip(_NAME + _STATED + b"s", {"data/0": bytes(16)})),
        "string.pth": ("truncated", torch_zip(b"\x80\x02X\xff\xff\xff\x7fabc.", {})),
        "random.pth": ("unknown-format", b"\x00\x01\x02" + bytes(range(256)) * 4),
    }
    return {name: (reason, _bytes(content)) for name, (reason, content) in cases.items()}


# recorded outputs


def npy_file(header: str, data: bytes = b"") -> bytes:
    """An .npy file with any header."""
    raw = header.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(raw)) + raw + data


def _npy(value: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, value, allow_pickle=True)
    return buffer.getvalue()


def _npz(compressed: bool = False, **arrays: Any) -> bytes:
    buffer = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(buffer, **arrays)
    return buffer.getvalue()


def _arrays(folder: Path) -> dict[str, tuple[str, Maker]]:
    header = "{'descr': '<f8', 'fortran_order': False, 'shape': %s, }"
    objects = np.array([[Payload(folder), 1]], dtype=object)
    spoilt = np.ones((3, 2))
    spoilt[1, 1] = np.inf
    bomb = _npz(True, outputs=np.zeros((30_000, 1000)))
    small = _npz(True, outputs=np.ones((2, 2)))
    cases: dict[str, tuple[str, bytes]] = {
        "lying.npy": ("truncated", npy_file(header % "(1000000000, 1000)", bytes(80))),
        "lying-little.npy": ("truncated", npy_file(header % "(6, 2)", bytes(80))),
        "longer.npy": ("malformed", npy_file(header % "(4, 2)", bytes(80))),
        "overflow.npy": ("wrong-shape", npy_file(header % "(4294967296, 4294967296000000)", bytes(80))),
        "negative.npy": ("wrong-shape", npy_file(header % "(-5, -2)", bytes(80))),
        "code.npy": ("malformed", npy_file("{'descr': '<f8', 'shape': __import__('os').mkdir('x'), }")),
        "objects.npy": ("object-array", _npy(objects)),
        "objects.npz": ("object-array", _npz(outputs=objects)),
        "structured.npy": ("not-numbers", _npy(np.zeros((2, 2), dtype=[("a", "f4")]))),
        "complex.npy": ("not-numbers", _npy(np.zeros((2, 2), dtype=np.complex64))),
        "flat.npy": ("wrong-shape", _npy(np.zeros(7))),
        "infinite.npy": ("not-finite", _npy(spoilt)),
        "bomb.npz": ("expanded", bomb),
        "several.npz": ("which-array", _npz(a=np.ones((2, 2)), b=np.ones((2, 2)))),
        "checksum.npz": ("malformed", _flipped(small, small.index(b"outputs.npy") + 40)),
        "ragged.csv": ("wrong-shape", b"1,2\n3\n"),
        "words.csv": ("not-numbers", b"1,2\n3,four\n"),
        "nan.csv": ("not-finite", b"1,2\n3,nan\n"),
        "columns.csv": ("too-large", b"1," * (1 << 20) + b"1\n"),
    }
    return {name: (reason, _bytes(content)) for name, (reason, content) in cases.items()}


def _flipped(content: bytes, position: int) -> bytes:
    return content[:position] + bytes([content[position] ^ 0xFF]) + content[position + 1 :]


# HDF5


def _h5(write: Callable[[Any, Path], Any]) -> Maker:
    def make(path: Path) -> None:
        with h5py.File(path, "w") as file:
            write(file, path)

    return make


def _outside(path: Path) -> str:
    """Another HDF5 file, in the hidden folder."""
    other = path.parent / ".hidden" / "other.h5"
    if not other.exists():
        with h5py.File(other, "w") as file:
            file["outputs"] = np.ones((4, 3))
    return f".hidden/{other.name}"


def _virtual(file: Any, path: Path) -> None:
    layout = h5py.VirtualLayout((4, 3), "f8")
    layout[:] = h5py.VirtualSource(_outside(path), "outputs", (4, 3))
    file.create_virtual_dataset("outputs", layout)


def _soft(file: Any, path: Path) -> None:
    file["group/real"] = np.ones((4, 3))
    file["outputs"] = h5py.SoftLink("/group/real")


def _h5_loop(file: Any, path: Path) -> None:
    file["outputs"] = h5py.SoftLink("/outputs")


def _gzip_bomb(file: Any, path: Path) -> None:
    dataset = file.create_dataset("outputs", (20_000, 1000), "f8", chunks=(1000, 1000), compression="gzip")
    chunk = zlib.compress(bytes(8_000_000))
    for start in range(0, 20_000, 1000):
        dataset.id.write_direct_chunk((start, 0), chunk)


def _external_storage(file: Any, path: Path) -> None:
    file.create_dataset("outputs", (4, 3), "f8", external=[("/etc/passwd", 0, 96)])


def _hdf5() -> dict[str, tuple[str, Maker]]:
    ones = np.ones((4, 3))

    def cut(path: Path) -> None:
        _h5(lambda file, _: file.create_dataset("outputs", data=np.ones((4000, 3))))(path)
        path.write_bytes(path.read_bytes()[:-40_000])

    return {
        "external-link.h5": (
            "external-link",
            _h5(lambda f, p: f.__setitem__("outputs", h5py.ExternalLink(_outside(p), "outputs"))),
        ),
        "soft-link.h5": ("external-link", _h5(_soft)),
        "link-loop.h5": ("external-link", _h5(_h5_loop)),
        "external-storage.h5": ("external-link", _h5(_external_storage)),
        "virtual.h5": ("external-link", _h5(_virtual)),
        "fill.h5": ("expanded", _h5(lambda f, _: f.create_dataset("outputs", (1_000_000, 1_000), "f4", fillvalue=1.0))),
        "fill-chunked.h5": (
            "expanded",
            _h5(lambda f, _: f.create_dataset("outputs", (100, 10), "f8", chunks=(10, 10))),
        ),
        "gzip-bomb.h5": ("expanded", _h5(_gzip_bomb)),
        "filter.h5": ("filter", _h5(lambda f, _: f.create_dataset("outputs", data=ones, compression="lzf"))),
        "text.h5": ("object-array", _h5(lambda f, _: f.create_dataset("outputs", data=[["a", "b"]]))),
        "group.h5": ("which-array", _h5(lambda f, _: f.create_group("outputs"))),
        "several.h5": (
            "which-array",
            _h5(lambda f, _: (f.create_dataset("a", data=ones), f.create_dataset("b", data=ones))),
        ),
        "cut.h5": ("malformed", cut),
        "rubbish.h5": ("malformed", _bytes(b"\x89HDF\r\n\x1a\n" + bytes(range(256)) * 8)),
    }


# ONNX


def onnx_model(nodes: list[Any], weights: Mapping[str, Any], **options: Any) -> Any:
    """x (n, 12) -> y: the nodes, which must make y, with opset 17."""
    from onnx import TensorProto, helper, numpy_helper

    inputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 12]) for name in options.get("inputs", ["x"])
    ]
    graph = helper.make_graph(
        nodes,
        "graph",
        inputs,
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", "columns"])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )
    domains = [helper.make_opsetid("", 17), *(helper.make_opsetid(name, 1) for name in options.get("domains", ()))]
    return helper.make_model(graph, opset_imports=domains, ir_version=9)


def linear_onnx(weight: Any) -> Any:
    """x (n, 12) -> x @ weight."""
    from onnx import helper

    return onnx_model([helper.make_node("MatMul", ["x", "w"], ["y"])], {"w": weight})


def _onnx_bomb(operator: str, **weights: Any) -> Any:
    from onnx import helper

    nodes = [
        helper.make_node(operator, list(weights), ["big"]),
        helper.make_node("ReduceSum", ["big"], ["sum"], keepdims=0),
        helper.make_node("Add", ["x", "sum"], ["y"]),
    ]
    return onnx_model(nodes, weights)


def _external(location: str, *, prepare: Callable[[Path], Any] = lambda folder: None, **fields: str) -> Maker:
    from onnx import TensorProto

    def make(path: Path) -> None:
        prepare(path.parent)
        model = linear_onnx(np.ones((12, 3), np.float32))
        (tensor,) = model.graph.initializer
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in {"location": location, **fields}.items():
            tensor.external_data.add(key=key, value=value)
        path.write_bytes(model.SerializeToString())

    return make


def _weights_bin(folder: Path, name: str, *, link: Callable[[Path, Path], Any] | None = None) -> None:
    real = folder / ".hidden" / f"real-{name}"
    real.write_bytes(np.ones(36, np.float32).tobytes())
    if link is not None:
        link(real, folder / ".hidden" / name)


def _onnx() -> dict[str, tuple[str, Maker]]:
    from onnx import helper

    linear = linear_onnx(np.ones((12, 3), np.float32))
    lying = linear_onnx(np.ones((12, 3), np.float32))
    lying.graph.initializer[0].dims[1] = 1_000_000_000
    functions = linear_onnx(np.ones((12, 3), np.float32))
    functions.functions.append(
        helper.make_function(
            "", "Mine", ["a"], ["b"], [helper.make_node("Relu", ["a"], ["b"])], [helper.make_opsetid("", 17)]
        )
    )
    custom = onnx_model([helper.make_node("Run", ["x"], ["y"], domain="evil")], {}, domains=["evil"])
    sizes, one, zero = np.array([100_000, 100_000]), np.ones((1, 1), np.float32), np.float32(0)
    late = onnx_model(
        [
            helper.make_node("Shape", ["x"], ["shape"]),
            helper.make_node("Mul", ["shape", "factor"], ["sizes"]),
            helper.make_node("ConstantOfShape", ["sizes"], ["big"]),
            helper.make_node("ReduceSum", ["big"], ["sum"], keepdims=0),
            helper.make_node("Add", ["x", "sum"], ["y"]),
        ],
        {"factor": np.array([1, 10**10])},
    )
    two = onnx_model([helper.make_node("Add", ["x", "z"], ["y"])], {}, inputs=["x", "z"])
    models: dict[str, tuple[str, Any]] = {
        "lying": ("expanded", lying),
        "functions": ("custom-domain", functions),
        "custom": ("custom-domain", custom),
        "range": ("expanded", _onnx_bomb("Range", start=zero, limit=np.float32(1e10), delta=np.float32(1))),
        "constant-of-shape": ("expanded", _onnx_bomb("ConstantOfShape", sizes=sizes)),
        "expand": ("expanded", _onnx_bomb("Expand", one=one, sizes=sizes)),
        "tile": ("expanded", _onnx_bomb("Tile", one=one, sizes=sizes)),
        "pad": ("expanded", _onnx_bomb("Pad", one=one, sizes=np.array([0, 0, 100_000, 100_000]))),
        "late": ("too-large", late),
        "two-inputs": ("graph", two),
        "unknown-operator": ("graph", onnx_model([helper.make_node("NoSuchThing", ["x"], ["y"])], {})),
    }
    files = {
        f"onnx-{name}.onnx": (reason, _bytes(model.SerializeToString())) for name, (reason, model) in models.items()
    }
    cut, raw = linear.SerializeToString()[:-7], linear.SerializeToString()
    # A graph of empty nodes, two bytes each.
    empty = b"\x0a\x00" * 1_500_000
    swarm = b"\x08\x09" + b"\x3a" + _varint(len(empty)) + empty
    return {
        **files,
        "onnx-cut.onnx": ("unknown-format", _bytes(cut)),
        "onnx-damaged.onnx": ("graph", _bytes(raw.replace(b"MatMul", b"MatM\xff\xff"))),
        "onnx-swarm.onnx": ("expanded", _bytes(swarm)),
        "onnx-traversal.onnx": ("external-data", _external("../../../../etc/passwd", length="144")),
        "onnx-absolute.onnx": ("external-data", _external("/etc/passwd", length="144")),
        "onnx-missing.onnx": ("external-data", _external(".hidden/nothing.bin")),
        "onnx-beyond.onnx": (
            "external-data",
            _external(".hidden/real-beyond", prepare=lambda f: _weights_bin(f, "beyond"), offset="1"),
        ),
        "onnx-symlink.onnx": (
            "external-data",
            _external(".hidden/soft", prepare=lambda f: _weights_bin(f, "soft", link=lambda a, b: b.symlink_to(a))),
        ),
        "onnx-hardlink.onnx": (
            "external-data",
            _external(".hidden/hard", prepare=lambda f: _weights_bin(f, "hard", link=os.link)),
        ),
    }


def _varint(value: int) -> bytes:
    parts = []
    while value > 127:
        parts.append(128 | value & 127)
        value >>= 7
    return bytes([*parts, value])


# What is no regular file


def _no_files() -> dict[str, tuple[str, Maker]]:
    def damaged_fingerprint(path: Path) -> None:
        import sac_fast

        probes = sac_fast.ProbeSet.from_arrays(np.zeros((2, 4, 4, 3), np.uint8))
        sac_fast.fingerprint(lambda x: x.mean((2, 3)), probes, name="x").save(path)
        path.write_bytes(_flipped(path.read_bytes(), -2 + path.stat().st_size))

    def probe_set(path: Path) -> None:
        import sac_fast

        sac_fast.ProbeSet.from_arrays(np.zeros((2, 4, 4, 3), np.uint8)).save(path)

    return {
        "empty.safetensors": ("empty", _bytes(b"")),
        "empty.onnx": ("empty", _bytes(b"")),
        "directory.safetensors": ("not-a-regular-file", lambda path: path.mkdir()),
        "fifo.pth": ("not-a-regular-file", lambda path: os.mkfifo(path)),
        "socket": ("not-a-regular-file", lambda path: os.mknod(path, stat.S_IFSOCK | 0o600)),
        "loop-a.pth": ("symlink-loop", lambda path: path.symlink_to("loop-b.pth")),
        "loop-b.pth": ("symlink-loop", lambda path: path.symlink_to("loop-a.pth")),
        "loop-of-folders": ("not-a-regular-file", lambda path: path.symlink_to(".")),
        "outside.pth": ("symlink", lambda path: path.symlink_to("/etc/passwd")),
        "dangling.pth": ("missing", lambda path: path.symlink_to("nothing-here")),
        "text": ("unknown-format", _bytes(b"hello\nworld\n")),
        "zeros": ("unknown-format", _bytes(bytes(1000))),
        "fingerprint": ("damaged", damaged_fingerprint),
        "probes": ("not-a-model", probe_set),
    }
