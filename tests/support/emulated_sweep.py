"""The sweep kernels of csrc/cuda on the processor, in the place of the compiled module (cuda_fibers/)."""

import ctypes
import functools
import pathlib
import shutil
import subprocess
import tempfile

import pytest

ROOT = pathlib.Path(__file__).parents[2]
FIBERS = ROOT / "tests/cuda_fibers"
SOURCES = ("nearest_models_cuda", "pairwise_correlation_distances_cuda")
FORMS = ("uint8", "float16", "float32", "float64")  # the order of sac::VectorForm


class Rows(ctypes.Structure):
    """Address, number, pitch."""

    _fields_ = [("data", ctypes.c_void_p), ("rows", ctypes.c_int64), ("pitch", ctypes.c_int64)]


class EmulatedSweep:
    """What `sac_fast.ops` calls of the compiled module, and which kernels it called."""

    def __init__(self, library):
        self.library = library
        self.called = []

    def pairwise_correlation_distances_cuda(self, x, y, triangle, dtype, sums, add, distances, wide, scale, stream):
        self.called.append(("pairwise", x[1], y[1], add))
        self.library.pairwise(
            ctypes.byref(Rows(*x)),
            ctypes.byref(Rows(*y)),
            triangle,
            FORMS.index(dtype),
            ctypes.c_void_p(sums),
            add,
            ctypes.c_void_p(distances),
            wide,
            ctypes.c_double(scale),
        )

    def nearest_models_cuda(
        self, queries, models, dtype, top, first_query, first_model, exclude_self, parts, lists, stream
    ):
        self.called.append(("nearest", queries[1], models[1], parts))
        self.library.nearest(
            ctypes.byref(Rows(*queries)),
            ctypes.byref(Rows(*models)),
            FORMS.index(dtype),
            top,
            *map(ctypes.c_int64, (first_query, first_model)),
            exclude_self,
            ctypes.c_int64(parts),
            ctypes.c_void_p(lists),
        )

    def nearest_models_cuda_symmetric(self, models, dtype, top, lists, stream):
        self.called.append(("symmetric", models[1]))
        self.library.nearest_symmetric(ctypes.byref(Rows(*models)), FORMS.index(dtype), top, ctypes.c_void_p(lists))


@functools.cache
def compiled():
    """The library of the kernels and of cuda_fibers/sweep.cpp, made once."""
    compiler = shutil.which("g++")
    if compiler is None or not (ROOT / "csrc/cuda").exists():
        pytest.skip("needs g++ and the source tree")
    include = [f"-I{path}" for path in (FIBERS, ROOT / "csrc", ROOT / "csrc/include")]
    sources = [FIBERS / "sweep.cpp", *(ROOT / "csrc/cuda" / f"{name}.cu" for name in SOURCES)]
    with tempfile.TemporaryDirectory() as folder:
        made = pathlib.Path(folder) / "sweep.so"
        command = [
            compiler,
            "-std=gnu++17",
            "-O1",
            "-w",
            "-shared",
            "-fPIC",
            "-fno-gnu-unique",
            *include,
            "-x",
            "c++",
            *sources,
        ]
        run = subprocess.run([*command, "-o", made], capture_output=True, text=True)
        if run.returncode and "_Float16" in run.stderr:
            pytest.skip("needs a compiler with _Float16")
        assert run.returncode == 0, run.stderr
        library = ctypes.CDLL(str(made))
    library.summed_float32.restype = library.summed_float16.restype = ctypes.c_double
    library.part_start.restype = library.key.restype = ctypes.c_int64
    return library
