// Rows in, normalised rows out: widening, centring and L2 normalisation in float64.
#pragma once

#include <cstdint>

#include "sac/detail/matrix_view.h"

namespace sac {

// `zero`: a row without direction (all zero; centred: constant).
enum class RowKind { ordinary, zero, not_finite };

// Writes row i, normalised, to `out`, which holds x.cols numbers, and the norm of the row (centred: of the centred one)
// to `norm` if it is given and the row is ordinary.
RowKind normalise_row(const MatrixView& x, std::int64_t i, bool centre, double* out, double* norm = nullptr);

}  // namespace sac
