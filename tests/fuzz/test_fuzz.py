"""The fuzz targets: they take their own seeds, a few cases of each pass, and a fault is found, however deep it lies."""

from __future__ import annotations

import io
import signal
import sqlite3
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from random import Random

import h5py
import onnx
import pytest
from numpy.lib import format as npy_format
from PIL import Image

from sac_fast import Fingerprint
from sac_fast.errors import FileFormatError, SacFastError

from . import seeds
from .cases import run_cases, run_one
from .hdf5_file import rebuilt
from .outcomes import Outcomes
from .targets import TARGETS, Target


@pytest.mark.parametrize("name", TARGETS)
def test_a_few_cases_of_each_target(name: str) -> None:
    count = len(TARGETS[name].seeds())
    assert count >= 2
    run = run_cases(TARGETS[name], 600, 0, most=5)
    assert run.count == run.outcomes.opened + run.outcomes.refused == count + 5


def test_a_fault_is_found_and_its_file_is_kept(tmp_path: Path) -> None:
    def read(content: bytes, folder: Path, outcomes: Outcomes) -> None:
        if b"\x00" in content:
            raise KeyError("a fault")

    with pytest.raises(KeyError, match="a fault"):
        run_cases(Target(lambda: [b"aaaa", b"bbbb"], read), 600, 0, tmp_path / "current")
    assert b"\x00" in (tmp_path / "current").read_bytes()


def _fingerprint(content: bytes) -> object:
    path = Path("/dev/shm" if Path("/dev/shm").is_dir() else "/tmp") / "sac_fast-fuzz-test"
    path.write_bytes(content)
    try:
        return Fingerprint.load(path).provenance
    finally:
        path.unlink()


def _pickle(content: bytes) -> object:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        (name,) = [one for one in archive.namelist() if one.endswith("/data.pkl")]
        return archive.read(name)


def _operators(content: bytes) -> object:
    return [node.op_type for node in onnx.load_from_string(content).graph.node]


def _shape(content: bytes) -> object:
    handle = io.BytesIO(content)
    npy_format.read_magic(handle)
    return npy_format.read_array_header_1_0(handle)[0]


def _size(content: bytes) -> object:
    picture = Image.open(io.BytesIO(content), formats=["PNG"])
    picture.verify()
    return picture.size


def _names(content: bytes) -> object:
    database = sqlite3.connect(":memory:")
    database.deserialize(content[:18] + b"\x01\x01" + content[20:])  # without a write-ahead log
    assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    return database.execute("SELECT name FROM models").fetchall()


# What is read behind a seal, a CRC, or lengths inside lengths. Of files that are damaged anywhere, none gets there.
DEEP: dict[str, tuple[Callable[[], bytes], Callable[[bytes], object]]] = {
    "seal": (lambda: seeds.containers()[0], _fingerprint),
    "CRC of an archive": (lambda: next(one for one in seeds.torch_files() if one.startswith(b"PK")), _pickle),
    "message": (lambda: seeds.onnx()[-2], _operators),
    "header": (lambda: seeds.npy()[0], _shape),
    "CRC of a chunk": (lambda: next(one for one in seeds.images() if one.startswith(b"\x89PNG")), _size),
    "database": (lambda: next(one for one in seeds.store() if one.startswith(b"SQLite")), _names),
}


@pytest.mark.parametrize("name", DEEP)
def test_a_fault_behind_a_check_is_found(name: str) -> None:
    make, value = DEEP[name]
    seed = make()
    sound = value(seed)

    def read(content: bytes, folder: Path, outcomes: Outcomes) -> None:
        with outcomes.attempt():
            try:
                found = value(content)
            except Exception as error:
                raise SacFastError("refused") from error
        if () in outcomes._current and found != sound:
            raise KeyError("a fault")

    with pytest.raises(KeyError, match="a fault"):
        run_cases(Target(lambda: [seed], read), 600, 0, most=2000)


def test_damaged_chunks_are_not_given_to_the_filters_of_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """A chunk of lzf before a checksum that does not fit ended the process by SIGSEGV."""
    for seed in seeds.hdf5():
        monkeypatch.setattr(h5py.Dataset, "__getitem__", _read_plain)
        changed = rebuilt(seed, Random(1), lambda part: part)
        monkeypatch.undo()
        with h5py.File(io.BytesIO(changed)) as file:
            assert set(file) >= {"layer"}


def _read_plain(dataset: h5py.Dataset, key: object, read: Callable[..., object] = h5py.Dataset.__getitem__) -> object:
    assert not dataset.id.get_create_plist().get_nfilters()
    return read(dataset, key)


def test_an_input_that_ends_as_none_before_is_damaged_further() -> None:
    passed = []

    def read(content: bytes, folder: Path, outcomes: Outcomes) -> None:
        passed.append(content.startswith(b"\0"))
        with outcomes.attempt():
            raise _FIRST if passed[-1] else _SECOND

    run_cases(Target(lambda: [b"a" * 40], read), 600, 0, most=600)
    assert passed.index(True) < 300
    assert sum(passed) > 25  # of files that are damaged once, 10


_FIRST, _SECOND = FileFormatError("1"), SacFastError("2")


def test_memory_is_a_fault() -> None:
    def read(content: bytes, folder: Path, outcomes: Outcomes) -> None:
        assert len(bytearray(b"x") * (300 << 20)) > len(content)

    with pytest.raises(MemoryError, match="1 bytes of input took 31"):
        run_one(Target(lambda: [], read), b"x")


_HANGING = """
import os, time
from fuzz import cases
from fuzz.targets import Target

def work(*_):
    while True: pass

cases.MAX_SECONDS = 1
for read in (lambda *_: time.sleep(30), work):
    if not (child := os.fork()):
        cases.run_one(Target(list, read), b"x")
        os._exit(0)
    print(os.WTERMSIG(os.waitpid(child, 0)[1]))
"""


def test_a_hang_ends_the_process() -> None:
    tests = Path(__file__).resolve().parent.parent
    code = f"import sys; sys.path[:0] = {[str(tests), str(tests.parent)]!r}\n{_HANGING}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100, check=True)
    waiting, working = map(int, done.stdout.split())
    assert waiting == signal.SIGALRM
    assert working in (signal.SIGPROF, signal.SIGALRM)
