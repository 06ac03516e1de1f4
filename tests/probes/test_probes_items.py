"""File lists and WebDataset tars: order, labels, and what strangers may have put there."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from pathlib import Path

import pytest

from sac_fast.errors import ProbeError
from sac_fast.probes.items import Item, list_items


def make_tar(path: Path, members: list[tuple[str, bytes]], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:
        for name, data in members:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def test_folder_items(tmp_path: Path) -> None:
    for name in ("b/2.png", "a/1.jpg", "a/notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    kind, items, classes = list_items(tmp_path, "folder")
    assert (kind, classes) == ("folder", ["a", "b"])
    assert [(item.name, item.label) for item in items] == [("a/1.jpg", 0), ("b/2.png", 1)]
    assert items[0].read() == (b"a/1.jpg", "sha256:" + hashlib.sha256(b"a/1.jpg").hexdigest())


def test_file_list(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("x/b c.png 3\n\n  a.jpg\t-1\n")
    kind, items, classes = list_items(tmp_path / "list.txt")
    assert (kind, classes) == ("file list", None)
    assert [(item.name, item.label, item.path) for item in items] == [
        ("x/b c.png", 3, tmp_path / "x/b c.png"),
        ("a.jpg", -1, tmp_path / "a.jpg"),
    ]
    (tmp_path / "list.lst").write_text("a b.png\nc.png\n")
    assert [(item.name, item.label) for item in list_items(tmp_path / "list.lst")[1]] == [
        ("a b.png", None),
        ("c.png", None),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.png 1\nb.png\n", r"must have a label on every line or on none, got none in 'b\.png'"),
        ("../a.png\n", r"must name files of its own folder, got '\.\./a\.png'"),
        ("/etc/passwd 1\n", "must name files of its own folder, got '/etc/passwd'"),
        ("\n", "source must hold at least one image"),
        (b"\xff\xfe.png\n", "cannot be read"),
    ],
)
def test_file_lists_that_are_refused(tmp_path: Path, text: str | bytes, message: str) -> None:
    (tmp_path / "list.txt").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ProbeError, match=message):
        list_items(tmp_path / "list.txt")


def test_webdataset(tmp_path: Path) -> None:
    first = make_tar(
        tmp_path / "0.tar", [("x/7.jpg", b"seven"), ("x/7.cls", b"4"), ("8.cls", b" 5\n"), ("8.seg.png", b"8")]
    )
    second = make_tar(tmp_path / "1.tar", [("9.png", b"nine"), ("9.json", b"{}")])
    kind, items, _ = list_items([first, second])
    assert kind == "webdataset"
    assert [(item.name, item.label) for item in items] == [("0.tar/x/7.jpg", 4), ("1.tar/9.png", None)]
    assert items[0].read()[0] == b"seven"
    assert items[1].read() == (b"nine", "sha256:" + hashlib.sha256(b"nine").hexdigest())
    assert [item.name for item in list_items(first)[1]] == ["0.tar/x/7.jpg"]


def test_tars_that_are_refused(tmp_path: Path) -> None:
    cases = [
        ([("1.png", b"a"), ("1.jpg", b"b")], "w", r"must hold one image a key, got two for '1\.jpg'"),
        (
            [("1.png", b"a"), ("2.png", b"b"), ("2.cls", b"1")],
            "w",
            r"a label for every image or for none, got none for",
        ),
        ([("1.png", b"a"), ("1.cls", b"cat")], "w", "must be a sound, uncompressed tar, got invalid literal"),
        ([("1.png", b"a")], "w:gz", "must be a sound, uncompressed tar"),
        ([("1.txt", b"a")], "w", "source must hold at least one image"),
    ]
    for number, (members, mode, message) in enumerate(cases):
        with pytest.raises(ProbeError, match=message):
            list_items(make_tar(tmp_path / f"{number}.tar", members, mode))
    with pytest.raises(ProbeError, match=r"must be a sound, uncompressed tar, got cannot read .*none\.tar"):
        list_items(tmp_path / "none.tar")
    with tarfile.open(tmp_path / "link.tar", "w") as archive:
        link = tarfile.TarInfo("1.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    with pytest.raises(ProbeError, match="source must hold at least one image"):
        list_items(tmp_path / "link.tar")


def test_sources_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(ProbeError, match=r"source must be a folder, a \.txt or \.lst file list, or \.tar files"):
        list_items(tmp_path / "x.zip")


def test_items_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ProbeError, match=r"image 'a' cannot be read: cannot read .*No such file"):
        Item("a", tmp_path / "a.png").read()
    (tmp_path / "huge.png").touch()
    os.truncate(tmp_path / "huge.png", 1 << 40)
    with pytest.raises(ProbeError, match="image 'h' must be at most 1,073,741,824 bytes, got 1,099,511,627,776"):
        Item("h", tmp_path / "huge.png").read()
