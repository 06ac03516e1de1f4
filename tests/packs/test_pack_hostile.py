"""Files that are given as packs and are something else, or lie about what they hold: refused at little cost."""

import os
import struct
import tarfile
import zipfile

import numpy as np
import pytest
from support.bounded import bounded

from sac_fast.errors import FileFormatError
from sac_fast.io.container import save_container
from sac_fast.io.hashing import sha256_file
from sac_fast.packs.opened import open_pack
from sac_fast.packs.pack import read_pack

HASH = "sha256:" + "1" * 64
MEMBER = {
    **{"name": "a", "role": "independents", "kind": None, "model_hash": None, "output_form": None},
    **{"output_form_declared": False, "preprocessing_hash": None},
}
PLACE = {"hash": HASH, "at": "here"}
ABOUT = {
    "created": "2026-01-01T00:00:00+00:00",
    "note": None,
    "probes": {**PLACE, "count": 2},
    "members": [MEMBER],
}


def zipped(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../../marker", b"x")


def tarred(path):
    with tarfile.open(path, "w") as archive:
        link = tarfile.TarInfo("0")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)


def altered(change):
    """A sound pack whose header was changed: its seal is of the sound one."""

    def make(path):
        save_container(path, "pack", {"0": np.ones((2, 3))}, ABOUT)
        raw = path.read_bytes()
        end = 8 + int.from_bytes(raw[:8], "little")
        header = change(raw[8:end].rstrip())
        assert header != raw[8:end].rstrip()
        header = header.ljust((len(header) + 7) // 8 * 8)
        path.write_bytes(struct.pack("<Q", len(header)) + header + raw[end:])

    return make


def swapped(old, new):
    return altered(lambda header: header.replace(old, new))


NO_PACKS = {
    "a zip with a way out": (zipped, r"a file of another format: 123 bytes that begin with b[\"']PK"),
    "a tar with a link": (tarred, "another or damaged header"),
    "a header beyond the file": (
        lambda path: path.write_bytes(struct.pack("<Q", 1 << 20) + b"{}"),
        "its header claims 1,048,576 bytes, the file has 10",
    ),
    "a header of terabytes": (
        lambda path: path.write_bytes(struct.pack("<Q", 1 << 62) + b"{}"),
        "its header claims 4,611,686,018,427,387,904 bytes, the file has 10",
    ),
    "text that is no UTF-8": (swapped(b"here", b"\xff\xfe"), "UnicodeDecodeError"),
    "one name twice": (
        altered(lambda header: header[:-1] + b"," + header[header.index(b'"0":') :]),
        "header must be as it was",
    ),
    "a size that lies": (swapped(b"[2,3]", b"[2,1099511627776]"), "damaged: it must have the hash"),
    "a size that overflows": (swapped(b"[2,3]", b"[4611686018427387904,12]"), "damaged: it must have the hash"),
    "a negative size": (swapped(b"[2,3]", b"[-2,-3]"), r"got \[-2, -3\] at bytes 0 to 48"),
    "data behind the file": (
        swapped(b"[0,48]", b"[1099511627776,1099511627824]"),
        "must hold 1,099,511,627,824 bytes",
    ),
    "an unknown type": (swapped(b'"F64"', b'"F65"'), "dtype"),
    "another text under the seal": (swapped(b"here", b"away"), "damaged"),
    "brackets without end": (swapped(b"[2,3]", b"[" * 100_000), "RecursionError"),
    "a long number": (swapped(b"[2,3]", b"[" + b"9" * 100_000 + b"]"), "4300 digits"),
}


@pytest.mark.parametrize("what", NO_PACKS)
def test_what_is_no_pack_is_refused(tmp_path, what):
    path = tmp_path / "p"
    make, message = NO_PACKS[what]
    make(path)
    with bounded(path.stat().st_size), pytest.raises(FileFormatError, match=message), path.open("rb") as handle:
        read_pack(handle, "p")
    assert [file.name for file in tmp_path.iterdir()] == ["p"]


def test_no_pack_reaches_the_caller_as_a_refusal_through_the_worker(tmp_path):
    zipped(tmp_path / "p")
    with pytest.raises(FileFormatError, match=r"must be a pack file of sac_fast .*, got a file of another format"):
        open_pack(tmp_path / "p", sha256_file(tmp_path / "p"))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: os.mkfifo(path), "must be a regular file, got a folder, a pipe or a device"),
        (lambda path: path.mkdir(), "must be a regular file, got a folder, a pipe or a device"),
        (lambda path: path.symlink_to("/dev/zero"), "must be a regular file, got a folder, a pipe or a device"),
        (lambda path: path.symlink_to(path.name), "Too many levels of symbolic links"),
        (lambda path: os.truncate(os.open(path, os.O_CREAT | os.O_WRONLY), 200 << 20), "must lie on the disk"),
        (lambda path: os.truncate(os.open(path, os.O_CREAT | os.O_WRONLY), 1 << 42), "at most 268,435,456 bytes"),
    ],
    ids=["pipe", "folder", "endless device", "loop", "200 MB of holes", "four terabytes"],
)
def test_what_is_no_file_is_refused_unread(tmp_path, make, message):
    make(tmp_path / "p")
    with bounded(seconds=1), pytest.raises(FileFormatError, match=message):
        open_pack(tmp_path / "p", HASH)


WILD = {
    "members beyond the arrays": ({"members": [MEMBER] * 4096}, "one array a member, got 1 for 4096"),
    "members beyond the limit": ({"members": [MEMBER] * 4097}, "members must be 1 … 4,096, got 4097"),
    "a wild number of probes": ({"probes": {**PLACE, "count": 1 << 62}}, "probes must be at least 2, got 46116860184"),
    "no number of probes": ({"probes": {**PLACE, "count": True}}, "count must be int, got bool"),
    "a number beyond float": ({"probes": {**PLACE, "count": 10**400}}, "probes must be at least 2, got 1000000000"),
    "text in place of a list": ({"members": "members"}, "members must be list, got str"),
    "a note that is an object": ({"note": {"a": 1}}, "note must be str or null, got dict"),
}


@pytest.mark.parametrize("what", WILD)
def test_a_sealed_pack_that_lies_is_refused(tmp_path, what):
    """Whoever makes a pack seals it too: a right hash says nothing about what is inside."""
    lie, message = WILD[what]
    save_container(tmp_path / "p", "pack", {"0": np.ones((2, 3))}, {**ABOUT, **lie})
    size = (tmp_path / "p").stat().st_size
    with bounded(size), pytest.raises(FileFormatError, match=message), (tmp_path / "p").open("rb") as handle:
        read_pack(handle, "p")


def test_the_pack_that_the_lies_are_told_of_is_read(tmp_path):
    save_container(tmp_path / "p", "pack", {"0": np.ones((2, 3))}, ABOUT)
    pack = open_pack(tmp_path / "p", sha256_file(tmp_path / "p"))
    assert [member.name for member in pack.members] == ["a"]
    assert pack.outputs[0].tolist() == [[1.0] * 3] * 2
