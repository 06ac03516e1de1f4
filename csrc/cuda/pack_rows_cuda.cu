// A block packs 8 rows: thread t the octets t / 8, t / 8 + 32, … of row t % 8, so that 8 neighbouring threads write the
// 128 bytes of an 8×8 matrix, and 4 threads of a row read 128 contiguous bytes of float32.
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
constexpr std::int64_t kMaxGridModels = 65535;

struct Work : PackRows {
  double inverse_cols;
};

struct alignas(16) Octet {
  std::uint16_t number[kOctet];
};

// The sum over the 32 threads of a row, in a fixed order, for each of them.
__device__ double row_sum(double value, double (&warp_sums)[kColumns / 4][kRows]) {
  value += __shfl_xor_sync(0xffffffffu, value, 8);
  value += __shfl_xor_sync(0xffffffffu, value, 16);
  const int row = static_cast<int>(threadIdx.x) % kRows;
  if (threadIdx.x % 32 < kRows) warp_sums[threadIdx.x / 32][row] = value;
  __syncthreads();
  double sum = 0;
#pragma unroll
  for (int w = 0; w < kColumns / 4; ++w) sum += warp_sums[w][row];
  __syncthreads();
  return sum;
}

// One row in float64. Centred rows are shifted by their first entry first: a constant row is then exactly zero.
template <typename T>
struct Row {
  const T* first;
  std::int64_t stride, k;
  double shift;
  __device__ double at(std::int64_t c) const { return widen(first[c * stride]) - shift; }
};

// Σ (x_c − mean)^power over the row.
template <int kPower, typename T>
__device__ double power_sum(const Row<T>& row, double mean, double (&warp_sums)[kColumns / 4][kRows]) {
  double sum = 0;
  for (std::int64_t octet = threadIdx.x / kRows; octet * kOctet < row.k; octet += kColumns)
#pragma unroll
    for (int e = 0; e < kOctet; ++e) {
      const std::int64_t c = octet * kOctet + e;
      if (c >= row.k) break;
      const double x = row.at(c) - mean;
      sum += kPower == 2 ? x * x : x;
    }
  return row_sum(sum, warp_sums);
}

template <typename T>
__device__ void pack_row(const Row<T>& row, double mean, double factor, std::int64_t steps, int parts,
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
    unsigned char* out = to + octet / 2 * parts * kPartBytes + octet % 2 * kHalfStepBytes;
    *reinterpret_cast<Octet*>(out) = hi;
    if (parts == 2) *reinterpret_cast<Octet*>(out + kPartBytes) = lo;
  }
}

template <typename T>
__global__ void __launch_bounds__(kThreads) pack_rows_kernel(Work work) {
  __shared__ double warp_sums[kColumns / 4][kRows];
  const MatrixView& x = work.outputs;
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kRows + threadIdx.x % kRows;
  const std::int64_t steps = steps_of(x.cols), padded = row_tiles(x.rows) * kTileRows;
  const bool inside = i < x.rows;
  for (std::int64_t model = blockIdx.y; model < work.models; model += gridDim.y) {
    const T* first = static_cast<const T*>(x.data) + model * work.model_stride + (inside ? i * x.row_stride : 0);
    Row<T> row{first, x.col_stride, inside ? x.cols : 0, 0.0};
    double mean = 0;
    if (work.centre) {
      row.shift = widen(*first);
      mean = power_sum<1>(row, 0.0, warp_sums) * work.inverse_cols;
    }
    const double squares = power_sum<2>(row, mean, warp_sums);
    const bool finite = squares <= 1.7976931348623157e308;  // also false for NaN
    const double factor = squares > 0 ? rsqrt(squares) : 0.0;
    unsigned char* to = static_cast<unsigned char*>(work.packed) + model * packed_bytes(x.rows, x.cols, work.parts) +
                        model_offset(i, 0, 0, steps, work.parts);
    pack_row(row, mean, finite ? factor : squares - squares, steps, work.parts, to);
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
                  static_cast<unsigned>(work.models < kMaxGridModels ? work.models : kMaxGridModels));
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
