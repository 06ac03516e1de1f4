"""All-or-nothing writing, and opening regular files only."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pytest
from support.bounded import bounded

from sac_fast.errors import FileFormatError
from sac_fast.io.files import Holes, atomic_write, check_holes, leads_into, open_regular, read_regular


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_atomic_write_leaves_nothing_half_done(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")

    def interrupted() -> None:
        with atomic_write(path) as handle:
            handle.write(b"half")
            raise error

    with pytest.raises(error):
        interrupted()
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a"]


def test_atomic_write_shows_the_file_at_the_end_only(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")
    with atomic_write(path) as handle:
        handle.write(b"new")
        handle.flush()
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["a"]


def test_atomic_write_permissions_follow_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        with atomic_write(tmp_path / "a") as handle:
            handle.write(b"x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640


def test_atomic_write_where_it_cannot(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_write(tmp_path / "none" / "a"):
        pass
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError), atomic_write(tmp_path / "folder"):
        pass
    assert os.listdir(tmp_path) == ["folder"]


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: None, "missing"),
        (lambda path: path.mkdir(), "not-a-regular-file"),
        (os.mkfifo, "not-a-regular-file"),
        (lambda path: path.symlink_to(path), "symlink-loop"),
        (lambda path: os.mknod(path, stat.S_IFSOCK | 0o600), "not-a-regular-file"),
    ],
)
def test_what_is_no_regular_file_is_refused_with_a_reason(
    tmp_path: Path, make: Callable[[Path], None], reason: str
) -> None:
    make(tmp_path / "a")
    with pytest.raises(FileFormatError, match="/a'") as caught:
        open_regular(tmp_path / "a")
    assert caught.value.reason == reason


def test_a_name_with_nul_is_missing() -> None:
    with pytest.raises(FileFormatError, match="null byte") as caught:
        open_regular("a\0b")
    assert caught.value.reason == "missing"


def test_holes_are_counted_by_one_rule(tmp_path: Path) -> None:
    def sparse(name: str, begin: int, size: int) -> BinaryIO:
        (tmp_path / name).write_bytes(bytes(begin))
        os.truncate(tmp_path / name, size)
        return (tmp_path / name).open("rb")

    few, many = sparse("few", 0, 1 << 20), sparse("many", 0, (1 << 20) + 1)
    half, more = sparse("half", 2 << 20, 5 << 20), sparse("more", 2 << 20, (5 << 20) + 1)
    with few, many, half, more:
        for handle in (few, half):
            check_holes("file", handle)
        for handle in (many, more):
            with pytest.raises(FileFormatError, match="file must lie on the disk, got ") as caught:
                check_holes("file", handle)
            assert caught.value.reason == "expanded"
        together = Holes(most=3 << 20)
        together.add("few", few)
        with pytest.raises(FileFormatError, match=r"bytes of 5,242,880, after others with 1,048,576 bytes of holes"):
            together.add("half", half)
        assert (together.holes, together.stored) == (1 << 20, 0)  # what is refused is not counted


def test_a_large_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 11)
    assert read_regular(tmp_path / "a", 11) == b"x" * 11
    with pytest.raises(FileFormatError, match="must have at most 10 bytes, as a test, got more"):
        read_regular(tmp_path / "a", 10, "as a test")
    os.truncate(tmp_path / "a", 500 << 20)
    with bounded(seconds=1), pytest.raises(FileFormatError, match="must lie on the disk"):
        read_regular(tmp_path / "a", 1 << 30)


def test_what_leads_into_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "out").symlink_to("/")
    names = {"a": True, "a/../b": True, "..": False, "out/etc": False, "a/../" * 4096: False}
    assert {name: leads_into(tmp_path / name, tmp_path) for name in names} == names
