"""Folders that attack the walk through them: deep ones, long paths, links, files of holes."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from support.bounded import bounded

from sac_fast.errors import ModelError, ModelRefusedError
from sac_fast.formats.identify import open_model_file
from sac_fast.formats.limits import Limits
from sac_fast.io.files import stored_bytes
from sac_fast.models import list_entries, open_model
from sac_fast.models.folder_walk import walk_folder
from sac_fast.scan.onnx_external import external_files


def nest(folder: Path, name: str, levels: int) -> None:
    """Folders inside each other, made through descriptors since no path is long enough; a file in the last one."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    for _ in range(levels):
        os.mkdir(name, dir_fd=descriptor)
        inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = inner
    os.close(os.open("last.npy", os.O_WRONLY | os.O_CREAT, dir_fd=descriptor))
    os.close(descriptor)


def reason(entry: object) -> str:
    with pytest.raises(ModelRefusedError) as caught:
        open_model(entry)  # type: ignore[arg-type]
    return caught.value.reason


@pytest.fixture
def deep_folder(tmp_path: Path) -> Iterator[Path]:
    nest(tmp_path, "d", 1050)
    nest(tmp_path, "n" * 250, 18)
    yield tmp_path
    subprocess.run(["rm", "-rf", *tmp_path.iterdir()], check=True)  # too deep for what removes the others


def test_deep_folders_are_walked_and_what_is_beyond_paths_fails_alone(deep_folder: Path) -> None:
    tmp_path = deep_folder
    np.save(tmp_path / "good.npy", np.ones((3, 2)))
    with bounded():
        long, deep, good = list_entries(tmp_path)
    assert deep.name == "d/" * 1050 + "last.npy"
    assert (good.name, open_model(good).recorded) == ("good.npy", True)
    assert long.name.startswith("./" + "n" * 250 + "/n")  # shortened to what a store holds
    assert len(long.name) == 2 + 1000 + 1 + 64
    assert reason(long) == "path-too-long"


def test_a_root_that_cannot_be_listed(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"cannot list .*: No such file"):
        list(walk_folder(tmp_path / "none", []))


def sparse(path: Path, size: int) -> Path:
    with path.open("wb") as handle:
        handle.write(b"\x08\x09")
        handle.truncate(size)
    return path


def test_files_of_holes_are_refused_before_they_are_read(tmp_path: Path) -> None:
    for name in ("giant.onnx", "giant.safetensors", "giant.npy"):
        sparse(tmp_path / name, 15 << 30)
    with bounded(seconds=1):
        assert external_files(tmp_path / "giant.onnx") == ()
        assert [reason(entry) for entry in list_entries(tmp_path)] == ["expanded"] * 3
    (tmp_path / "full").write_bytes(bytes(70 << 20))
    with open_model_file(tmp_path / "full", Limits()) as handle:
        assert (stored_bytes(handle), handle.tell()) == (70 << 20, 0)
    with sparse(tmp_path / "half", 1 << 20).open("r+b") as handle:
        handle.seek(1 << 19)
        handle.write(bytes(1 << 19))
        handle.flush()
        assert (stored_bytes(handle), handle.tell()) == ((1 << 19) + 4096, 1 << 20)


def test_no_more_of_a_long_file_is_read_than_protobuf_can_read(tmp_path: Path) -> None:
    limits = Limits(free_expansion_bytes=1 << 60)
    sparse(tmp_path / "a.onnx", 15 << 30)
    with bounded(seconds=1):
        assert external_files(tmp_path / "a.onnx", limits=limits) == ()
    sparse(tmp_path / "b.onnx", 2 << 30)
    with bounded(seconds=1):
        assert external_files(tmp_path / "b.onnx", limits=limits, stopped=lambda: True) == ()


def test_a_link_out_of_the_folder_is_not_searched_for_external_files(tmp_path: Path) -> None:
    folder = tmp_path / "zoo"
    folder.mkdir()
    (tmp_path / "outside.onnx").write_bytes(b"\x6a\x13\x0a\x08location\x12\x07weights")
    (folder / "link.onnx").symlink_to("../outside.onnx")
    assert external_files(tmp_path / "outside.onnx") == ("weights",)
    assert external_files(folder / "link.onnx", root=folder) == ()


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "a/../../b", "x" * 4097])
def test_names_that_lead_elsewhere_are_not_looked_at(tmp_path: Path, name: str) -> None:
    length = len(name).to_bytes(1, "little") if len(name) < 128 else bytes([len(name) & 127 | 128, len(name) >> 7])
    inner = b"\x0a\x08location\x12" + length + name.encode()
    whole = len(inner)
    size = bytes([whole]) if whole < 128 else bytes([whole & 127 | 128, whole >> 7])
    (tmp_path / "a.onnx").write_bytes(b"\x6a" + size + inner)
    assert external_files(tmp_path / "a.onnx") is None
