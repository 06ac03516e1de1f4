"""All-or-nothing writing, and opening regular files only."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from sac_fast.errors import FileFormatError
from sac_fast.io.files import atomic_write, open_regular


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
