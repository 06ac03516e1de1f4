"""Archives from outside as probes, tars of images and .npz files of inputs: what they may say, and what it costs."""

import io
import os
import tarfile
import zipfile

import numpy as np
import pytest
from support.bounded import bounded

from sac_fast.errors import ModelRefusedError, ProbeError
from sac_fast.io.hashing import canonical_json
from sac_fast.io.text import escape_text
from sac_fast.probes.items import list_items
from sac_fast.probes.recorded_inputs import load_probes


def member(name, size=0, kind=tarfile.REGTYPE, link=""):
    about = tarfile.TarInfo(name)
    about.size, about.type, about.linkname = size, kind, link
    return about


def raw_tar(path, *parts, end=bytes(1024)):
    """A tar of headers and bytes as they are given."""
    blocks = [part.tobuf(tarfile.GNU_FORMAT) if isinstance(part, tarfile.TarInfo) else part for part in parts]
    path.write_bytes(b"".join(block.ljust((len(block) + 511) // 512 * 512, b"\0") for block in blocks) + end)
    return path


@pytest.mark.parametrize(
    "kind", [tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE]
)
def test_members_that_are_no_files_are_no_images(tmp_path, kind):
    path = raw_tar(tmp_path / "a.tar", member("1.png", kind=kind, link="/etc/passwd"), member("2.png", 1), b"x")
    assert [item.name for item in list_items(path)[1]] == ["a.tar/2.png"]


@pytest.mark.parametrize("name", ["../../out.png", "/etc/out.png", "a/../../out.png"])
def test_names_that_lead_out_are_names_only(tmp_path, name):
    (item,) = list_items(raw_tar(tmp_path / "a.tar", member(name, 3), b"abc"))[1]
    assert (item.name, item.path, item.read()[0]) == (f"a.tar/{name}", tmp_path / "a.tar", b"abc")
    assert os.listdir(tmp_path) == ["a.tar"]


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ((member("1.png", 1 << 40), b"x"), "unexpected end of data"),
        ((member("1.png", 1 << 62), b"x"), "must be a sound, uncompressed tar"),
        ((member("1.png", -1024), b"x"), "natural sizes, got -1024"),
        (
            (member("L", 1 << 40, tarfile.GNUTYPE_LONGNAME), b"x" * 512, member("1.png")),
            "must be a sound, uncompressed tar",
        ),
        ((member("x", 1 << 40, tarfile.XHDTYPE), b"9 path=a\n", member("1.png")), "must be a sound"),
        ((member("x", 19, tarfile.XHDTYPE), b"19 size=99999999999\n"[:19], member("1.png")), "must be a sound"),
        ((member("1.cls", 30), b"9" * 30, member("1.png", 1), b"x"), r"labels must be class numbers below 2\^31"),
    ],
    ids=["a terabyte", "four exabytes", "negative", "a long name", "pax", "pax size", "a huge label"],
)
def test_tars_that_lie_about_sizes(tmp_path, parts, message):
    raw_tar(tmp_path / "a.tar", *parts)
    with bounded(seconds=2), pytest.raises(ProbeError, match=message):
        list_items(tmp_path / "a.tar")


def test_a_tar_of_holes_a_pipe_and_a_device_are_refused_unread(tmp_path):
    raw_tar(tmp_path / "a.tar", member("1.png", 1 << 40))
    os.truncate(tmp_path / "a.tar", 1 << 41)
    with bounded(seconds=1), pytest.raises(ProbeError, match="must lie on the disk"):
        list_items(tmp_path / "a.tar")
    os.mkfifo(tmp_path / "pipe.tar")
    (tmp_path / "zero.tar").symlink_to("/dev/zero")
    for name in ("pipe.tar", "zero.tar"):
        with bounded(seconds=1), pytest.raises(ProbeError, match="must be a regular file"):
            list_items(tmp_path / name)


def test_names_that_are_no_utf_8_are_recorded_in_escapes(tmp_path):
    header = bytearray(member("1.png", 1).tobuf(tarfile.USTAR_FORMAT))
    header[0:6] = b"\xff\xfe.png"
    header[148:156] = b"%06o\0 " % (sum(header[:148]) + 8 * 32 + sum(header[156:]))
    raw_tar(tmp_path / "a.tar", bytes(header), b"x")
    (item,) = list_items(tmp_path / "a.tar")[1]
    assert item.name == "a.tar/\udcff\udcfe.png"
    assert canonical_json(item.name) == r'"a.tar/\udcff\udcfe.png"'  # as provenance records it
    assert escape_text(item.name).encode() == rb"a.tar/\udcff\udcfe.png"


def test_many_members_cost_little_beyond_their_headers(tmp_path):
    path = raw_tar(tmp_path / "a.tar", b"".join(member(f"{i}.txt").tobuf() for i in range(4000)))
    with bounded(path.stat().st_size), pytest.raises(ProbeError, match="at least one image"):
        list_items(path)


def npy(shape, data, dtype="<f8"):
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": dtype, "fortran_order": False, "shape": shape})
    return buffer.getvalue() + data


def npz(path, **arrays):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in arrays.items():
            archive.writestr(name + ".npy", content)
    return path


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        ({"x": npy((1 << 24,), bytes(1 << 27))}, "expanded"),
        ({f"x{i}": npy((1 << 20,), bytes(1 << 23)) for i in range(12)}, "expanded"),
        ({"x": npy((1 << 40,), b"")}, "truncated"),
        ({"x": npy((1 << 62, 8), b"")}, "truncated"),
        ({"x": npy((4,), bytes(40))}, "malformed"),
        ({"x": npy((4,), bytes(32), "|O")}, "object-array"),
        ({"x": npy((2,), bytes(32), "<c16")}, None),
        ({"x": b"\x93NUMPY\x01\x00\xff\xff" + b"(" * 65535}, "malformed"),
    ],
    ids=["bomb", "bombs together", "cut", "overflow", "longer", "objects", "complex", "brackets"],
)
def test_npz_files_that_lie(tmp_path, arrays, reason):
    path = npz(tmp_path / "a.npz", **arrays)
    with bounded(path.stat().st_size, seconds=3), pytest.raises((ModelRefusedError, ProbeError)) as caught:
        load_probes(path)
    assert getattr(caught.value, "reason", None) == reason


def test_npz_files_of_holes_and_doubled_names(tmp_path):
    with zipfile.ZipFile(tmp_path / "twice.npz", "w") as archive:
        archive.writestr("x.npy", npy((4,), bytes(32)))
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("x.npy", npy((4,), bytes(32)))
    with pytest.raises(ModelRefusedError) as caught:
        load_probes(tmp_path / "twice.npz")
    assert caught.value.reason == "duplicate-keys"
    path = npz(tmp_path / "holes.npz", x=npy((4,), bytes(32)))
    os.truncate(path, 1 << 40)
    with bounded(seconds=1), pytest.raises(ModelRefusedError) as caught:
        load_probes(path)
    assert caught.value.reason in ("expanded", "too-large")
