// One model's rows, normalised and packed as kernels.h describes.
#pragma once

#include <algorithm>
#include <limits>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "cpu/kernels.h"
#include "cpu/pack.h"

namespace sac {

inline std::invalid_argument not_finite(const std::string& name, std::int64_t row) {
  return std::invalid_argument(name + " must be finite, got NaN or Inf in row " + std::to_string(row));
}

// float64 throughout: for float64 inputs, and for rbf where float32's rounding would show. rbf needs the correlations
// themselves before the exponential, so their rounding does not cancel as it does in the difference of dot products.
// For rows of one sign it grows like k·2⁻²⁵, and 1/(2σ²) magnifies it: 64 · 2⁻²⁵ ≈ 2e-6 if every rounding went the same
// way; a few 1e-7 at most were seen.
inline bool needs_float64(const MatrixView& x, Metric metric, double sigma) {
  const double rounding = static_cast<double>(x.cols) * std::max(1.0, 0.5 / (sigma * sigma));
  return x.dtype == DType::float64 || (metric == Metric::rbf && rounding > 64);
}

template <typename T>
class PackedModel {
 public:
  // Takes memory; pack_panel fills it.
  PackedModel(const MatrixView& x, Metric metric, double sigma, int width)
      : x_(x),
        centre_(metric == Metric::pearson),
        width_(width),
        panels_((x.rows + width - 1) / width),
        lines_(panels_ * x.cols * width),
        norms_(panels_ * width),
        inverse_bandwidth_(static_cast<T>(0.5 / (sigma * sigma))) {}

  PackedRows<T> rows() const { return {lines_.data(), panels_, x_.cols, norms_.data(), inverse_bandwidth_}; }
  std::int64_t panels() const { return panels_; }
  // |x̂_i|² of row i: 1, 0 for a row without direction
  T norm(std::int64_t i) const { return norms_.data()[i]; }

  // The first row of the panel that holds NaN or Inf, or -1.
  std::int64_t pack_panel(std::int64_t p) {
    std::vector<double> row(static_cast<std::size_t>(x_.cols));
    T* panel = lines_.data() + p * x_.cols * width_;
    T* norm = norms_.data() + p * width_;
    const std::int64_t first = p * width_, filled = std::min<std::int64_t>(width_, x_.rows - first);
    std::fill(norm + filled, norm + width_, std::numeric_limits<T>::infinity());
    if (filled < width_) std::fill(panel, panel + x_.cols * width_, T(0));
    for (std::int64_t r = 0; r < filled; ++r) {
      const RowKind kind = normalise_row(x_, first + r, centre_, row.data());
      if (kind == RowKind::not_finite) return first + r;
      norm[r] = kind == RowKind::ordinary ? T(1) : T(0);
      for (std::int64_t j = 0; j < x_.cols; ++j)
        panel[j * width_ + r] = kind == RowKind::ordinary ? static_cast<T>(row[j]) : T(0);
    }
    return -1;
  }

  std::int64_t pack_all() {
    for (std::int64_t p = 0; p < panels_; ++p)
      if (const std::int64_t bad = pack_panel(p); bad >= 0) return bad;
    return -1;
  }

  static std::int64_t bytes(const MatrixView& x, int width) {
    return (x.rows + width - 1) / width * width * (x.cols + 1) * static_cast<std::int64_t>(sizeof(T));
  }

 private:
  MatrixView x_;
  bool centre_;
  std::int64_t width_, panels_;
  AlignedBuffer<T> lines_, norms_;
  T inverse_bandwidth_;
};

// Packs models first, first + 1, … in parallel. Throws for the first one that is not finite; `name` is that of the
// argument, "models" becomes "models[3]".
template <typename T>
std::vector<std::unique_ptr<PackedModel<T>>> pack_models(const std::vector<MatrixView>& models, std::int64_t first,
                                                         std::int64_t last, const std::string& name, Metric metric,
                                                         double sigma, int width, int threads,
                                                         const CpuOptions& options);

}  // namespace sac
