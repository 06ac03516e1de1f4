"""The fuzz targets: they take their own seeds, a few cases of each pass, and a fault is found."""

from __future__ import annotations

from pathlib import Path

import pytest

from .cases import run_cases, run_one
from .targets import TARGETS, Target


@pytest.mark.parametrize("name", TARGETS)
def test_a_few_cases_of_each_target(name: str) -> None:
    assert len(TARGETS[name].seeds()) >= 2
    assert run_cases(TARGETS[name], 60, 0, most=5) == 5


def test_a_fault_is_found_and_its_file_is_kept(tmp_path: Path) -> None:
    def read(content: bytes, folder: Path) -> None:
        if b"\x00" in content:
            raise KeyError("a fault")

    with pytest.raises(KeyError, match="a fault"):
        run_cases(Target(lambda: [b"aaaa", b"bbbb"], read), 20, 0, tmp_path / "current")
    assert b"\x00" in (tmp_path / "current").read_bytes()


def test_memory_is_a_fault() -> None:
    def read(content: bytes, folder: Path) -> None:
        assert len(bytearray(b"x") * (300 << 20)) > len(content)

    with pytest.raises(MemoryError, match="1 bytes of input took 31"):
        run_one(Target(lambda: [], read), b"x")
