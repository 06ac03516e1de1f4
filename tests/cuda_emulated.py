"""Compiles a CUDA source for the CPU: its threads run as threads of the processor (cuda_emulation/cuda_runtime.h)."""

import ctypes
import pathlib
import re
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).parent.parent


def compiled(folder, sources, entry, options=()):
    """The shared library of `sources` (below csrc/cuda) and the C++ text `entry`, their launches emulated."""
    compiler = shutil.which("g++")
    if compiler is None or not (ROOT / "csrc/cuda").exists():
        pytest.skip("needs g++ and the source tree")
    text = "".join((ROOT / "csrc/cuda" / source).read_text() for source in sources)
    text = re.sub(
        r"extern __shared__ (?:__align__\(\d+\) )?([\w:]+) (\w+)\[\];", r"\1* const \2 = emulated_shared;", text
    )
    text, launches = re.subn(
        r"kernel<<<([^;]*?), (\w+), (\w+), static_cast<cudaStream_t>\(stream\)>>>\(",
        r"emulate_grid(kernel, \1, \2, \3, ",
        text,
    )
    assert launches >= len(sources)
    assert "<<<" not in text
    (folder / "kernel.cpp").write_text(text + entry)
    include = [f"-I{path}" for path in (ROOT / "tests/cuda_emulation", ROOT / "csrc", ROOT / "csrc/include")]
    command = [compiler, "-std=gnu++20", "-O1", "-w", "-shared", "-fPIC", "-pthread", *options, *include]
    run = subprocess.run([*command, folder / "kernel.cpp", "-o", folder / "kernel.so"], capture_output=True, text=True)
    if run.returncode and "barrier" in run.stderr and "No such file" in run.stderr:
        pytest.skip("needs a compiler with <barrier> (C++20)")
    assert run.returncode == 0, run.stderr
    return ctypes.CDLL(str(folder / "kernel.so"))
