// A block takes 8 rows: thread t the octets t / 8, t / 8 + 32, … of row t % 8, so that 8 neighbouring threads write the
// 128 bytes of an 8×8 matrix, and 4 that read one row read 128 bytes of float32 without a gap.
#include <cuda_runtime.h>

#include <stdexcept>

#include "cuda/detail/launch.cuh"
#include "sac/detail/half.h"
#include "sac/detail/packed_tiles.h"

namespace sac {
namespace {

constexpr int kThreads = 256;
constexpr int kRows = 8;
constexpr int kColumns = kThreads / kRows;  // octets side by side
constexpr int kOctet = 8;
constexpr std::int64_t kMostModelsSide = 65535;

struct Work : PackRows {
  double inverse_cols;
};

struct alignas(16) Octet {
  std::uint16_t number[kOctet];
};

// What all 32 threads of a row hold, added up in a fixed order; each of them gets the sum.
__device__ double row_sum(double mine, double (&of_warps)[kColumns / 4][kRows]) {
  mine += __shfl_xor_sync(0xffffffffu, mine, 8);
  mine += __shfl_xor_sync(0xffffffffu, mine, 16);
  const int row = static_cast<int>(threadIdx.x) % kRows;
  if (threadIdx.x % 32 < kRows) of_warps[threadIdx.x / 32][row] = mine;
  __syncthreads();
  double sum = 0;
#pragma unroll
  for (int w = 0; w < kColumns / 4; ++w) sum += of_warps[w][row];
  __syncthreads();
  return sum;
}

// One row, as the threads of it see it. Widened, and less its first entry where it is centred: a constant row is zero.
template <typename T>
struct Row {
  const T* first;
  std::int64_t stride, k;
  double shift;
  __device__ double at(std::int64_t c) const { return widen(first[c * stride]) - shift; }
};

// Σ (x_c − mean)^power over the row.
template <int kPower, typename T>
__device__ double power_sum(const Row<T>& row, double mean, double (&of_warps)[kColumns / 4][kRows]) {
  double mine = 0;
  for (std::int64_t octet = threadIdx.x / kRows; octet * kOctet < row.k; octet += kColumns)
#pragma unroll
    for (int e = 0; e < kOctet; ++e) {
      const std::int64_t c = octet * kOctet + e;
      if (c >= row.k) break;
      const double x = row.at(c) - mean;
      mine += kPower == 2 ? x * x : x;
    }
  return row_sum(mine, of_warps);
}

template <typename T>
__device__ void write_row(const Row<T>& row, double mean, double factor, std::int64_t steps, int parts,
                          unsigned char* to) {
  for (std::int64_t octet = threadIdx.x / kRows; octet < 2 * steps; octet += kColumns) {
    Octet hi{}, lo{};
#pragma unroll
    for (int e = 0; e < kOctet; ++e) {
      const std::int64_t c = octet * kOctet + e;
      if (c >= row.k) break;
      const SplitNumber number = split_number((row.at(c) - mean) * factor);
      hi.number[e] = number.hi;
      lo.number[e] = number.lo;
    }
    unsigned char* place = to + octet / 2 * parts * kPartBytes + octet % 2 * kHalfStepBytes;
    *reinterpret_cast<Octet*>(place) = hi;
    if (parts == 2) *reinterpret_cast<Octet*>(place + kPartBytes) = lo;
  }
}

template <typename T>
__global__ void __launch_bounds__(kThreads) pack_rows_kernel(Work work) {
  __shared__ double of_warps[kColumns / 4][kRows];
  const MatrixView& x = work.outputs;
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kRows + threadIdx.x % kRows;
  const std::int64_t steps = steps_of(x.cols), padded = row_tiles(x.rows) * kTileRows;
  const bool real = i < x.rows;
  for (std::int64_t model = blockIdx.y; model < work.models; model += gridDim.y) {
    const T* first = static_cast<const T*>(x.data) + model * work.model_stride + (real ? i * x.row_stride : 0);
    Row<T> row{first, x.col_stride, real ? x.cols : 0, 0.0};
    double mean = 0;
    if (work.centre) {
      row.shift = widen(*first);
      mean = power_sum<1>(row, 0.0, of_warps) * work.inverse_cols;
    }
    const double squares = power_sum<2>(row, mean, of_warps);
    const bool finite = squares <= 1.7976931348623157e308;  // false for NaN too
    const double factor = squares > 0 ? rsqrt(squares) : 0.0;
    unsigned char* to = static_cast<unsigned char*>(work.packed) + model * packed_bytes(x.rows, x.cols, work.parts) +
                        place_in_model(i, 0, 0, steps, work.parts);
    write_row(row, mean, finite ? factor : squares - squares, steps, work.parts, to);
    if (threadIdx.x < kRows) {
      work.squared_norms[model * padded + i] = squares > 0 ? 1.0f : 0.0f;
      if (!finite)
        atomicMin(reinterpret_cast<unsigned long long*>(work.bad_rows + model),
                  static_cast<unsigned long long>(work.first_row + i));
    }
  }
}

template <typename T>
void launch(const PackRows& work, void* stream) {
  Work all{work, 1.0 / static_cast<double>(work.outputs.cols)};
  const dim3 grid(static_cast<unsigned>(row_tiles(work.outputs.rows) * (kTileRows / kRows)),
                  static_cast<unsigned>(work.models < kMostModelsSide ? work.models : kMostModelsSide));
  launch_kernel("pack_rows_kernel", pack_rows_kernel<T>, grid, kThreads, 0, stream, all);
}

}  // namespace

void pack_rows_cuda(const PackRows& work, void* stream) {
  switch (work.outputs.dtype) {
    case DType::float16: return launch<Float16>(work, stream);
    case DType::bfloat16: return launch<BFloat16>(work, stream);
    case DType::float32: return launch<float>(work, stream);
    case DType::float64: return launch<double>(work, stream);
  }
  throw std::invalid_argument("pack_rows_cuda: unknown dtype");
}

}  // namespace sac
