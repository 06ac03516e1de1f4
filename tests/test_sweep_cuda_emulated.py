"""The L1 sweeps of csrc/cuda on the CPU: what they compute, and where they read and write, against SciPy in float64.

No GPU has run the kernels yet. The rows lie between guards, so that an access beyond them shows.
"""

import ctypes

import cuda_emulated
import numpy as np
import pytest
import scipy.spatial.distance

FORMS = ("uint8", "float16", "float32", "float64")
ENTRY = """
extern "C" void pairwise(const std::uint8_t* x, std::int64_t x_rows, const std::uint8_t* y, std::int64_t y_rows,
                         std::int64_t pitch, std::int64_t bytes, bool triangle, int form, double* sums, bool add,
                         void* distances, bool wide, double scale) {
  sac::pairwise_correlation_distances_cuda({x, x_rows, pitch}, {y, y_rows, pitch}, triangle,
                                           static_cast<sac::SweepForm>(form), bytes,
                                           {sums, add, distances, wide, scale},
                                           nullptr);
}
"""


@pytest.fixture(scope="module")
def kernel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pairwise")
    return cuda_emulated.compiled(folder, ["pairwise_correlation_distances_cuda.cu"], ENTRY).pairwise


def rows_of(values, form):
    """Rows as the kernels take them, 16 bytes aligned, padded with zeros: (whole buffer, address, pitch, bytes)."""
    values = np.ascontiguousarray(values.astype(form))
    used = values.shape[1] * values.itemsize
    pitch = -(-used // 16) * 16
    buffer = np.zeros(len(values) * pitch + 16, np.uint8)
    start = -buffer.ctypes.data % 16
    rows = buffer[start : start + len(values) * pitch].reshape(len(values), pitch)
    rows[:, :used] = values.view(np.uint8).reshape(len(values), used)
    return buffer, rows.ctypes.data, pitch, used


def entries(rng, m, p, form):
    if form == "uint8":
        return rng.integers(0, 256, (m, p)).astype(np.uint8)
    return rng.uniform(-1, 1, (m, p)).astype(form)


def cityblock(x, y):
    return scipy.spatial.distance.cdist(x.astype(np.float64), y.astype(np.float64), "cityblock")


def pointer(array):
    return ctypes.c_void_p(None if array is None else array.ctypes.data)


def sweep(kernel, x, y, form, sums=None, add=False, distances=None, scale=1.0):
    kept, x_at, pitch, used = rows_of(x, form)
    _kept, y_at, *_ = (kept, x_at) if y is None else rows_of(y, form)
    wide = distances is not None and distances.dtype == np.float64
    kernel(
        ctypes.c_void_p(x_at),
        ctypes.c_int64(len(x)),
        ctypes.c_void_p(y_at),
        ctypes.c_int64(len(x if y is None else y)),
        ctypes.c_int64(pitch),
        ctypes.c_int64(used),
        y is None,
        FORMS.index(form),
        pointer(sums),
        add,
        pointer(distances),
        wide,
        ctypes.c_double(scale),
    )


# of the sum over p entries of size 1: float16 rounds each difference (2⁻¹¹ of it) and twice what is added to it
RELATIVE = {"uint8": 0.0, "float16": 2e-3, "float32": 4e-7, "float64": 1e-14}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("m", "p"), [(2, 1), (3, 45), (127, 33), (129, 700), (130, 65)])
def test_all_pairs(kernel, form, m, p):
    x = entries(np.random.default_rng(m), m, p, form)
    x[-1] = x[0]
    distances = np.full((m, m), np.nan, np.float64)
    sweep(kernel, x, None, form, distances=distances, scale=0.5)
    expected = 0.5 * cityblock(x, x)
    np.testing.assert_allclose(distances, expected, rtol=RELATIVE[form], atol=1e-9)
    assert (distances == distances.T).all()
    assert not distances.diagonal().any()
    assert distances[0, -1] == 0.0
