"""Small sound files of every format, and hostile ones: what the fuzzing begins with."""

from __future__ import annotations

import io
import json
import struct
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from PIL import Image, features
from PIL.PngImagePlugin import PngInfo
from support import hostile_arrays, hostile_onnx, hostile_safetensors, hostile_torch
from support.store_models import PROBES, result
from torch import nn

from sac_fast import Fingerprint, ProbeSet, save_weights
from sac_fast.packs.make import make_pack
from sac_fast.probes.export import exported_name
from sac_fast.store import ModelStore
from sac_fast.store.codec import encode
from sac_fast.store.vectors import update_vectors

_MAX_SEED_BYTES = 1 << 16


def _files(make: Callable[[Path], Any]) -> list[bytes]:
    """The content of the small files that a maker leaves in a folder."""
    with tempfile.TemporaryDirectory() as name:
        make(Path(name))
        found = (path for path in sorted(Path(name).rglob("*")) if path.is_file() and not path.is_symlink())
        return [path.read_bytes() for path in found if 0 < path.stat().st_size <= _MAX_SEED_BYTES]


def _hostile(table: dict[str, tuple[str, Callable[[Path], Any]]], folder: Path) -> None:
    (folder / ".hidden").mkdir(exist_ok=True)
    for name, (_, make) in table.items():
        make(folder / name)


def safetensors() -> list[bytes]:
    def make(folder: Path) -> None:
        save_weights(folder / "w", nn.Linear(3, 2))
        _hostile(hostile_safetensors.safetensors_files(), folder)

    return _files(make)


def torch_files() -> list[bytes]:
    def make(folder: Path) -> None:
        for legacy in (False, True):
            state = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)).half().state_dict()
            torch.save(
                {"state_dict": state, "epoch": 3}, folder / f"w{legacy}", _use_new_zipfile_serialization=not legacy
            )
        _hostile(hostile_torch.torch_files(folder), folder)

    return _files(make)


def onnx() -> list[bytes]:
    return [
        *_files(lambda folder: _hostile(_small(hostile_onnx.onnx_files()), folder)),
        hostile_onnx.linear_onnx(np.ones((12, 3), np.float32)).SerializeToString(),
        hostile_onnx.loop_onnx(False).SerializeToString(),
    ]


def _small(table: dict[str, Any]) -> dict[str, Any]:
    return {name: row for name, row in table.items() if "memory" not in name}


def npy() -> list[bytes]:
    values = np.random.default_rng(0).random((6, 4))
    made = [hostile_arrays.npy_bytes(array) for array in (values, values.astype(">f2"), np.asfortranarray(values))]
    return made + [hostile_arrays.npz_bytes(zipped, outputs=values, more=values[0]) for zipped in (False, True)]


def hdf5() -> list[bytes]:
    """Old and new layouts: B-trees of both versions, arrays of chunks, groups in a heap, attributes, texts."""
    values = np.random.default_rng(0).random((6, 4))

    def make(folder: Path) -> None:
        packed = {"compression": 4, "shuffle": True, "fletcher32": True, "chunks": (2, 3)}
        layouts: list[tuple[str, dict[str, Any]]] = [("earliest", {}), ("earliest", packed), ("latest", packed)]
        layouts += [("latest", packed | {"maxshape": sides}) for sides in ((None, 4), (None, None))]
        layouts += [("latest", {"chunks": (6, 4)}), ("v110", {"compression": "lzf", "chunks": (1, 4)})]
        for number, (version, options) in enumerate(layouts):
            with h5py.File(folder / f"{number}.h5", "w", libver=version) as file:
                file.create_dataset("outputs", data=values, **options)
                file["layer/kernel"] = np.ones((3, 3), np.float32)
                file["layer/bias"] = np.ones(3, np.dtype(">f2"))
                if number % 2:
                    file["layer"].attrs["weight_names"] = [b"kernel:0", b"bias:0"]
                    file.attrs["layer_names"] = np.array(["layer"], h5py.string_dtype())
                    file["layer/soft"], file["layer/hard"] = h5py.SoftLink("/outputs"), file["layer/kernel"]

    return _files(make)


def csv() -> list[bytes]:
    """Tables of numbers, and answers by the names of exported probes."""
    probes = _probes()
    files = [exported_name(index, image) for index, image in enumerate(probes.images)]
    labels, scores = ["cat", "dog", "cat", "dog"], [0.25, 0.5, 0.75, 1.0]
    rows = list(zip(files, labels, scores, strict=True))
    tops = [{"file": file, "top": [{"label": label, "score": score}]} for file, label, score in rows]
    return [
        *(b"1,2.5\n3,-4e-3\n", b"\xef\xbb\xbfa;b\r\n1;2\r\n", b"index\tx\ty\n0\t1\t2\n1\t3\t4\n", b"1\n2\n3\n"),
        *(b"id,0,1,2\nx,1.5,2,3\ny,4,5,6\nz,7,8,9.5\n", b"a;b\n1,5;2,25\n3,5;4\n", b"# text\n1 2 3\n4 5 6\n"),
        "".join(f"{file},{label}\n" for file, label in [("file", "label"), *zip(files, labels, strict=True)]).encode(),
        "".join(f"{file},{label},{score}\n" for file, label, score in [("file", "label", "score"), *rows]).encode(),
        "".join(f"{one},{a},{b}\n" for one, a, b in [("file", "label1", "score1"), *rows]).encode(),
        "".join(["file,cat,dog\n", *(f"{file},{score},{1 - score}\n" for file, _, score in rows)]).encode(),
        json.dumps(dict(zip(files, labels, strict=True))).encode(),
        json.dumps([{"file": file, "scores": [score, 1 - score]} for file, _, score in rows]).encode(),
        "\n".join(map(json.dumps, tops)).encode(),
    ]


def manifests() -> list[bytes]:
    toml = '[defaults]\nkwargs = {a = [1.5, "x"]}\ntags = ["t"]\n[[models]]\npath = "a/b.npy"\nname = "n"\noutput = 1\n'
    table = 'path,name,architecture,kwargs,output,tags\nb.npy,second,torch.nn:Linear,"{""in_features"": 2}",1,a b\n'
    zoo = {"kind": "sac_fast labelled zoo", "preprocessing": {}, "probes": {}}
    member = {"name": "m", "role": "source", "origin": "x", "architecture": "torch.nn:Linear", "architecture_args": {}}
    full = (
        '[defaults]\narchitecture = "torch.nn:Linear"\ntable = {header = true, delimiter = "tab"}\noutput = "logits"\n'
        '[[models]]\npath = "a.pt"\nweights_key = "ema"\ninputs = {sr = 16000, state = "zeros"}\n'
        '[[models]]\npath = "b.onnx"\ntags = ["x", "y"]\nkwargs = {when = 1979-05-27, n = 0xff, r = inf}\n'
        'preprocessing = {size = [8, 9], mean = [0.5, 0.4, 0.3], std = [0.25], colour_order = "BGR", layout = "NHWC"}\n'
    )
    columns = (
        "path,preprocessing,table,inputs,weights_key,output\n"
        'a.npy,"{""mean"": [0.5], ""size"": [8, 8]}","{""header"": true, ""index"": null}","{""x"": [1, 2.5]}",ema,-1\n'
        'b.csv,,"{""delimiter"": ""space""}",,,logits\n'
    )
    others = [{**member, "name": name, "role": "independent", "architecture_args": {"a": [1.5]}} for name in "ab"]
    sized = {**zoo, "preprocessing": {"mean": [0.5], "std": [0.25]}, "members": [member, *others]}
    return [
        *(toml.encode(), full.encode(), table.encode(), columns.encode()),
        *(json.dumps(one).encode() for one in ({**zoo, "members": [member]}, sized)),
    ]


def _probes() -> ProbeSet:
    return ProbeSet.from_arrays(np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), np.uint8), np.arange(4))


def _fingerprint() -> Fingerprint:
    provenance = {"name": "x", "model_hash": None, "probe_hash": _probes().content_hash, "kind": None}
    return Fingerprint(torch.arange(12, dtype=torch.float32).reshape(4, 3), provenance)


def containers() -> list[bytes]:
    def make(folder: Path) -> None:
        _probes().jpeg(severity=2).save(folder / "probes")
        _fingerprint().save(folder / "fingerprint")

    return _files(make)


def provenance() -> list[bytes]:
    """JSON that is sealed after it was changed, so that not every change is found by the hash."""
    from sac_fast.probes import cutmix

    return [json.dumps(p.provenance).encode() for p in (_probes(), cutmix(_probes()).jpeg(severity=1), _fingerprint())]


def packs() -> list[bytes]:
    """Metadata of packs as JSON, sealed after it was changed."""
    prints = [_fingerprint(), _fingerprint().with_kind("same-data")]
    made = [make_pack([fp], _probes(), probes_at="https://example.org/p", note="x") for fp in prints]
    return [json.dumps(pack.metadata()).encode() for pack in made]


def store() -> list[bytes]:
    """The database of a store, a segment of outputs, what describes its packed vectors, and a file of outputs."""

    def make(folder: Path) -> None:
        with ModelStore.open(folder / "s", write=True, create=True) as opened:
            opened.add_results([result(1), result(2)])
            update_vectors(opened, PROBES)
        for path in folder.rglob("*"):
            if path.is_file() and path.suffix not in (".sqlite", ".seg", ".json"):
                path.unlink()

    key, _, outputs = result(1)
    return [*_files(make), encode(key, outputs)]


def images() -> list[bytes]:
    """One of every format, and of the forms of each that are decoded by other code."""
    generator = np.random.default_rng(0)
    picture = Image.fromarray(generator.integers(0, 256, (9, 7, 3), np.uint8))
    deep = Image.fromarray(generator.integers(0, 65536, (9, 7), np.uint16))
    exif = Image.Exif()
    exif[274], exif[270] = 6, "text"  # orientation and description
    profile = b"\0\0\0\x80" + bytes(124)
    texts = PngInfo()
    texts.add_text("XML:com.adobe.xmp", "<x/>", zip=True)
    palette, grey, mask = picture.quantize(16), picture.convert("L"), picture.convert("1")
    frames = {"save_all": True, "append_images": [palette, grey.convert("P")], "duration": 3}
    forms: list[tuple[Image.Image, str, dict[str, Any]]] = [
        *((picture, name, {}) for name in ("PNG", "JPEG", "BMP", "WEBP", "TIFF", "PPM", "GIF")),
        (picture, "JPEG", {"progressive": True, "exif": exif, "comment": b"text", "restart_marker_blocks": 1}),
        (picture.convert("CMYK"), "JPEG", {"quality": 20}),
        *((grey, name, {}) for name in ("JPEG", "PPM", "BMP")),
        *((mask, name, {}) for name in ("PNG", "PPM", "BMP", "TIFF")),
        *((deep, name, {}) for name in ("PNG", "PPM", "TIFF")),
        (palette, "PNG", {"transparency": 3, "pnginfo": texts, "icc_profile": profile, "exif": exif}),
        (palette, "PNG", frames),
        (palette, "GIF", frames | {"transparency": 2, "comment": b"text"}),
        (palette, "BMP", {}),
        (picture, "WEBP", {"lossless": True, "exif": exif, "icc_profile": profile, "xmp": b"<x/>"}),
        (picture.convert("RGBA"), "WEBP", {"save_all": True, "append_images": [picture.convert("RGBA")]}),
        (picture.convert("YCbCr"), "TIFF", {}),
    ]
    if features.check("libtiff"):
        names = ("tiff_lzw", "tiff_deflate", "packbits", "jpeg", "group4")
        forms += [(mask if name == "group4" else picture, "TIFF", {"compression": name}) for name in names]
    found = [_RUN_LENGTH_BMP, b"P3 2 1 15\n0 1 2 3 4 15\n", b"P1\n# text\n3 2 0 1 0 1 1 1\n"]
    for image, format, options in forms:
        buffer = io.BytesIO()
        image.save(buffer, format, **options)
        found.append(buffer.getvalue())
    return found


# 4 × 2 pixels of 8 bits in runs: two of two, the end of a line, a jump, three as they are, the end.
_RUNS = bytes((2, 1, 2, 0, 0, 0, 0, 2, 1, 0, 0, 3, 1, 0, 1, 0, 0, 1))
_RUN_LENGTH_BMP = (
    b"BM"
    + struct.pack("<IIIIiiHHIIIIII", 62 + len(_RUNS), 0, 62, 40, 4, 2, 1, 8, 1, len(_RUNS), 0, 0, 2, 2)
    + bytes((0, 0, 0, 0, 255, 255, 255, 0))
    + _RUNS
)
