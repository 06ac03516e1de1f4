// A strided (n, k) matrix of floating-point numbers not owned by the view.
#pragma once

#include <cstdint>

namespace sac {

enum class DType { float16, bfloat16, float32, float64 };

struct MatrixView {
  const void* data;
  DType dtype;
  std::int64_t rows;
  std::int64_t cols;
  std::int64_t row_stride;  // in elements, may be 0 or negative
  std::int64_t col_stride;
};

}  // namespace sac
