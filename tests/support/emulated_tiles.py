"""The sources of the tile kernels as a library for the processor (cuda_fibers/), and the module that calls it."""

import ctypes
import functools
import pathlib
import shutil
import subprocess
import tempfile

import numpy as np
import pytest
import torch

ROOT = pathlib.Path(__file__).parents[2]
FIBERS = ROOT / "tests/cuda_fibers"
SOURCES = ("correlation_distance_cuda", "correlation_distances_cuda", "correlation_matrix_cuda", "pack_rows_cuda")
DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)  # the order of sac::DType
KERNEL_NUMBERS = {"automatic": 0, "warp": 1, "warpgroup": 2}  # the order of sac::TileKernel
KERNELS = {"warp": 80, "warpgroup": 90}  # and the capability of devices that take it


@functools.cache
def library():
    compiler = shutil.which("g++")
    if compiler is None or not (ROOT / "csrc/cuda/pack_rows_cuda.cu").exists():
        pytest.skip("needs g++ and the source tree")
    include = [f"-I{path}" for path in (FIBERS, ROOT / "csrc", ROOT / "csrc/include")]
    sources = [FIBERS / "tiles.cpp", *(ROOT / "csrc/cuda" / f"{name}.cu" for name in SOURCES)]
    with tempfile.TemporaryDirectory() as folder:
        made = f"{folder}/tiles.so"
        command = [
            compiler,
            "-std=gnu++17",
            "-O1",
            "-DSAC_CUDA_SM90A",
            "-w",
            "-shared",
            "-fPIC",
            "-fno-gnu-unique",  # two emulated libraries in one process have their own variables each
            *include,
            "-x",
            "c++",
            *sources,
            "-o",
            made,
        ]
        run = subprocess.run(command, capture_output=True, text=True)
        assert run.returncode == 0, run.stderr
        loaded = ctypes.CDLL(made)
    for name in ("packed_bytes", "model_offset", "walk", "walk_steps", "plan_blocks", "wide_blocks"):
        getattr(loaded, name).restype = ctypes.c_int64
    loaded.launched.restype = ctypes.c_char_p
    return loaded


def i64(value):
    return ctypes.c_int64(value)


def pointer(array):
    return ctypes.c_void_p(array.ctypes.data)


def aligned(size, dtype):
    """Zeros on a boundary of 128 bytes, as the GPU's allocator gives it."""
    raw = np.zeros(size * np.dtype(dtype).itemsize + 128, np.uint8)
    return raw[-raw.ctypes.data % 128 :][: size * np.dtype(dtype).itemsize].view(dtype)


def address(value):
    return ctypes.c_void_p(value)


class Module:
    """The functions of the compiled module that `sac_fast.ops.cuda.tiles` calls, on tensors of the processor."""

    def __init__(self):
        self.library = library()

    def packed_bytes(self, rows, k, parts):
        return self.library.packed_bytes(i64(rows), i64(k), parts)

    def pack_rows_cuda(
        self, outputs, models, model_stride, centre, parts, packed, squared_norms, first_row, bad_rows, stream
    ):
        data, dtype, rows, cols, row_stride, col_stride = outputs
        kind = DTYPES.index(getattr(torch, dtype))
        sizes = map(i64, (models, model_stride, rows, cols, row_stride, col_stride))
        places = (address(packed), address(squared_norms), i64(first_row), address(bad_rows))
        self.library.pack_rows(address(data), kind, *sizes, centre, parts, *places)

    def correlation_distances_tiles_blocks(self, shape, count):
        return self.library.plan_blocks(*_shape(shape), i64(count))

    def correlation_distances_tiles(self, shape, source, suspects, count, partial, stream):
        sides = (*_packed(source), *_packed(suspects))
        self.library.correlation_distances(*_shape(shape), *sides, i64(count), address(partial))

    def correlation_matrix_tiles(self, shape, models, count, vector, out, stream):
        rows, _, _, _, bandwidth, _ = _shape(shape)
        self.library.correlation_matrix(rows, bandwidth, *_packed(models), i64(count), vector, address(out))

    def correlation_distance_cuda_blocks(self, rows):
        return self.library.wide_blocks(i64(rows))

    def correlation_distance_cuda(self, a, a_cols, b, b_cols, rows, inverse_bandwidth, partial, stream):
        sizes = (address(a), i64(a_cols), address(b), i64(b_cols), i64(rows))
        self.library.correlation_distance_wide(*sizes, ctypes.c_double(inverse_bandwidth), address(partial))


def _shape(shape):
    rows, cols, square, parts, bandwidth, kernel = shape
    return i64(rows), i64(cols), square, parts, ctypes.c_double(bandwidth), KERNEL_NUMBERS[kernel]


def _packed(packed):
    *places, k = packed
    return (ctypes.c_void_p * 4)(*places), i64(k)


INT64_MAX = np.iinfo(np.int64).max


class Packed:
    """Models (m, n, k), packed by the kernel: rows first … last of each."""

    def __init__(self, library, models, metric="cosine", parts=2, first=0, last=None):
        models = models[:, first:last]
        m, self.n, self.k = models.shape
        padded = -(-self.n // 128) * 128
        self.bytes = aligned(m * library.packed_bytes(i64(self.n), i64(self.k), parts), np.uint8)
        self.bytes[:] = 0xA5  # whatever is not written shows
        self.norms = np.full(m * padded, np.nan, np.float32)
        self.bad = np.full(m, INT64_MAX)
        library.pack_rows(
            ctypes.c_void_p(models.data_ptr()),
            DTYPES.index(models.dtype),
            *map(i64, (m, models.stride(0), self.n, self.k, models.stride(1), models.stride(2))),
            metric == "pearson",
            parts,
            pointer(self.bytes),
            pointer(self.norms),
            i64(first),
            pointer(self.bad),
        )

    def place(self, library, row, coordinate, part, parts):
        return library.model_offset(i64(row), i64(coordinate), part, i64(self.k), parts)


def models(m, n, k, seed, dtype=torch.float32):
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.standard_normal((m, n, k))).to(dtype)
