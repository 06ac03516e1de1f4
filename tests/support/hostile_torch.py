"""Hostile checkpoints of `torch.save`."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from .hostile import Maker, Payload, fixed_bytes


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


def torch_files(folder: Path) -> dict[str, tuple[str, Maker]]:
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
    return {name: (reason, fixed_bytes(content)) for name, (reason, content) in cases.items()}
