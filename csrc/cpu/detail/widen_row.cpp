#include "cpu/detail/widen_row.h"

#include "sac/detail/half.h"

namespace sac {
namespace {

template <typename T>
void read_row(const MatrixView& x, std::int64_t i, double* out) {
  const T* row = static_cast<const T*>(x.data) + i * x.row_stride;
  if (x.col_stride == 1)
    for (std::int64_t j = 0; j < x.cols; ++j) out[j] = widen(row[j]);
  else
    for (std::int64_t j = 0; j < x.cols; ++j) out[j] = widen(row[j * x.col_stride]);
}

}  // namespace

void widen_row(const MatrixView& x, std::int64_t i, double* out) {
  switch (x.dtype) {
    case DType::float16: read_row<Float16>(x, i, out); break;
    case DType::bfloat16: read_row<BFloat16>(x, i, out); break;
    case DType::float32: read_row<float>(x, i, out); break;
    case DType::float64: read_row<double>(x, i, out); break;
  }
}

}  // namespace sac
