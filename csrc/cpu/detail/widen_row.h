// Rows in, float64 out.
#pragma once

#include <cstdint>

#include "sac/detail/matrix_view.h"

namespace sac {

// Writes row i to `out`, which holds x.cols numbers.
void widen_row(const MatrixView& x, std::int64_t i, double* out);

}  // namespace sac
