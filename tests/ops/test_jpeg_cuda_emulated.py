"""The CUDA kernel of `jpeg_roundtrip`, its threads run as fibers on the processor (tests/cuda_fibers).

No GPU has run the kernel yet; this shows that what it computes and where it reads and writes is right.
"""

import ctypes
import pathlib
import re
import shutil
import subprocess

import numpy as np
import pytest
from support import jpeg_images

ROOT = pathlib.Path(__file__).parents[2]
SOURCE = ROOT / "csrc/cuda/jpeg_roundtrip_cuda.cu"
ENTRY = """
extern "C" void emulated(const std::uint8_t* images, std::uint8_t* out, std::int64_t count, int height, int width,
                         int channels, const std::uint8_t* quality, int subsampling) {
  sac::jpeg_roundtrip_cuda({images, out, count, height, width, channels, quality, 1,
                            static_cast<sac::Subsampling>(subsampling)}, nullptr);
}
"""
SUBSAMPLINGS = ("4:4:4", "4:2:2", "4:2:0")
# the constant that decides whether an image is one tile: as it is, and so that every image is cut into tiles
WHOLE_BYTES = {"whole": None, "tiles": "0"}


def replaced(pattern, by, text):
    text, times = re.subn(pattern, by, text, flags=re.S)
    assert times == 1, pattern
    return text


@pytest.fixture(scope="module", params=WHOLE_BYTES)
def kernel(request, tmp_path_factory):
    compiler = shutil.which("g++")
    if compiler is None or not SOURCE.exists():
        pytest.skip("needs g++ and the source tree")
    text = SOURCE.read_text()
    if WHOLE_BYTES[request.param]:
        text = replaced(r"(kMaxWholeBytes =) [^;]*", rf"\1 {WHOLE_BYTES[request.param]}", text)
    folder = tmp_path_factory.mktemp("emulated")
    (folder / "kernel.cpp").write_text(text + ENTRY)
    include = [f"-I{path}" for path in (ROOT / "tests/cuda_fibers", ROOT / "csrc", ROOT / "csrc/include")]
    command = [compiler, "-std=gnu++17", "-O1", "-w", "-shared", "-fPIC", "-fno-gnu-unique", *include]
    run = subprocess.run([*command, folder / "kernel.cpp", "-o", folder / "kernel.so"], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return ctypes.CDLL(str(folder / "kernel.so")).emulated


@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("shape", [(1, 1), (3, 4), (5, 9), (17, 33), (64, 48), (131, 130)])
def test_equals_pillow(kernel, shape, channels, subsampling):
    rng = np.random.default_rng(shape)
    makers = (jpeg_images.natural, jpeg_images.dct_signs)
    images = np.stack([np.ascontiguousarray(make(rng, *shape)[..., :channels]) for make in makers])
    qualities = rng.integers(1, 101, len(images)).astype(np.uint8)
    out = np.zeros_like(images)
    pointers = [ctypes.c_void_p(array.ctypes.data) for array in (images, out, qualities)]
    count = ctypes.c_int64(len(images))
    kernel(*pointers[:2], count, *shape, channels, pointers[2], SUBSAMPLINGS.index(subsampling))
    for image, actual, quality in zip(images, out, qualities, strict=True):
        assert np.array_equal(actual, jpeg_images.pillow(image, int(quality), subsampling))
