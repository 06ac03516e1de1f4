// The metrics of a correlation matrix; the formulas are in sac/correlation_matrix.h.
#pragma once

namespace sac {

enum class Metric { cosine, pearson, rbf };

}  // namespace sac
