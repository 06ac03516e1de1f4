// Rows of one model, or of a pair, normalised and packed in the layouts of kernels/correlation.h.
#pragma once

#include <algorithm>
#include <atomic>
#include <limits>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "cpu/detail/aligned_buffer.h"
#include "cpu/detail/parallel.h"
#include "cpu/detail/widen_row.h"
#include "cpu/kernels/correlation.h"
#include "sac/detail/ceil_div.h"
#include "sac/detail/matrix_view.h"
#include "sac/detail/metric.h"

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

// Whether any of the models or queries, which may be null, does.
bool any_needs_float64(const std::vector<MatrixView>& models, const std::vector<MatrixView>* queries, Metric metric,
                       double sigma);

constexpr std::int64_t kRowsPacked = 16;  // rows that are written into the lines together

// Row i of x, normalised, in `out`, whose numbers are T; `row` has room for it in float64. A row without direction is
// 0.
template <typename T>
RowKind normalised(const KernelsOf<T>& kernels, const MatrixView& x, std::int64_t i, bool centre,
                   std::vector<double>& row, T* out) {
  if (x.dtype == DType::float32 && x.col_stride == 1 && !centre &&
      kernels.normalise_floats(static_cast<const float*>(x.data) + i * x.row_stride, x.cols, out))
    return RowKind::ordinary;
  widen_row(x, i, row.data());
  const RowKind kind = kernels.normalise(row.data(), x.cols, centre, out, nullptr);
  if (kind != RowKind::ordinary) std::fill(out, out + x.cols, T(0));
  return kind;
}

template <typename T>
class PackedModel {
 public:
  // Allocates; pack_panel fills.
  PackedModel(const MatrixView& x, Metric metric, double sigma, const KernelsOf<T>& kernels)
      : x_(x),
        kernels_(kernels),
        centre_(metric == Metric::pearson),
        width_(kernels.width),
        panels_(ceil_div(x.rows, width_)),
        lines_(panels_ * x.cols * width_),
        norms_(panels_ * width_),
        inverse_bandwidth_(static_cast<T>(0.5 / (sigma * sigma))) {}

  PackedModelView<T> view() const { return {lines_.data(), panels_, x_.cols, norms_.data(), inverse_bandwidth_}; }
  std::int64_t panels() const { return panels_; }
  // |x̂_i|² of row i: 1, 0 for a row without direction
  T norm(std::int64_t i) const { return norms_.data()[i]; }

  // The first row of the panel that holds NaN or Inf, or -1.
  std::int64_t pack_panel(std::int64_t p) {
    std::vector<double> row(static_cast<std::size_t>(x_.cols));
    std::vector<T> rows(static_cast<std::size_t>(kRowsPacked * x_.cols));
    T* panel = lines_.data() + p * x_.cols * width_;
    T* norm = norms_.data() + p * width_;
    const std::int64_t first = p * width_, filled = std::min<std::int64_t>(width_, x_.rows - first);
    std::fill(norm + filled, norm + width_, std::numeric_limits<T>::infinity());
    if (filled < width_) std::fill(panel, panel + x_.cols * width_, T(0));
    for (std::int64_t r = 0; r < filled; r += kRowsPacked) {
      const std::int64_t count = std::min(kRowsPacked, filled - r);
      for (std::int64_t s = 0; s < count; ++s) {
        const RowKind kind = normalised(kernels_, x_, first + r + s, centre_, row, rows.data() + s * x_.cols);
        if (kind == RowKind::not_finite) return first + r + s;
        norm[r + s] = kind == RowKind::ordinary ? T(1) : T(0);
      }
      kernels_.write_lines(rows.data(), count, x_.cols, x_.cols, panel + r, width_);
    }
    return -1;
  }

  std::int64_t pack_all() {
    for (std::int64_t p = 0; p < panels_; ++p)
      if (const std::int64_t bad = pack_panel(p); bad >= 0) return bad;
    return -1;
  }

  static std::int64_t bytes(const MatrixView& x, int width) {
    return round_up(x.rows, width) * (x.cols + 1) * static_cast<std::int64_t>(sizeof(T));
  }

 private:
  MatrixView x_;
  const KernelsOf<T>& kernels_;
  bool centre_;
  std::int64_t width_, panels_;
  AlignedBuffer<T> lines_, norms_;
  T inverse_bandwidth_;
};

// Two models' rows, packed together. Keeps references to a and b.
template <typename T>
class PackedPair {
 public:
  PackedPair(const MatrixView& a, const MatrixView& b, Metric metric, double sigma, const KernelsOf<T>& kernels,
             int threads, const CpuOptions& options)
      : a_(a), b_(b), kernels_(kernels), centre_(metric == Metric::pearson), width_(kernels.width) {
    view_.pairs = std::min(a.cols, b.cols);
    view_.rest = std::max(a.cols, b.cols) - view_.pairs;
    view_.rest_is_a = a.cols > b.cols;
    view_.panels = ceil_div(a.rows, width_);
    lines_ = std::make_unique<AlignedBuffer<T>>(view_.panels * panel_size());
    view_.lines = lines_->data();
    norms_ = std::make_unique<AlignedBuffer<T>>(2 * view_.panels * width_);
    view_.norms_a = norms_->data();
    view_.norms_b = norms_->data() + view_.panels * width_;
    view_.inverse_bandwidth = static_cast<T>(0.5 / (sigma * sigma));
    // Below this many numbers, waking a thread takes longer than packing.
    const double numbers = static_cast<double>(a.rows) * static_cast<double>(a.cols + b.cols);
    const int useful = numbers < 8e3 ? 1 : threads;
    parallel_for(view_.panels, useful, options, [this](std::int64_t p) { pack_panel(p); });
    if (first_bad_ < std::numeric_limits<std::int64_t>::max())
      throw not_finite(first_bad_ % 2 ? "b" : "a", first_bad_ / 2);
  }

  const PackedPairView<T>& view() const { return view_; }
  bool identical() const { return identical_; }
  std::int64_t panel_size() const { return (2 * view_.pairs + view_.rest) * width_; }

 private:
  void pack_panel(std::int64_t p) {
    T* panel = lines_->data() + p * panel_size();
    T* norm_a = norms_->data() + p * width_;
    T* norm_b = norm_a + view_.panels * width_;
    const std::int64_t first = p * width_, filled = std::min<std::int64_t>(width_, a_.rows - first);
    if (filled < width_) std::fill(panel, panel + panel_size(), T(0));
    std::fill(norm_a + filled, norm_a + width_, std::numeric_limits<T>::infinity());
    std::fill(norm_b + filled, norm_b + width_, std::numeric_limits<T>::infinity());
    std::vector<double> row(static_cast<std::size_t>(std::max(a_.cols, b_.cols)));
    std::vector<T> rows(static_cast<std::size_t>(kRowsPacked) * row.size());
    for (std::int64_t r = 0; r < filled; r += kRowsPacked) {
      const std::int64_t count = std::min(kRowsPacked, filled - r);
      pack_rows(a_, 0, first + r, count, row, rows.data(), panel + r, norm_a + r);
      pack_rows(b_, 1, first + r, count, row, rows.data(), panel + r, norm_b + r);
    }
    for (std::int64_t r = 0; r < filled && identical_; ++r)
      if (a_.cols != b_.cols || !is_identical(panel + r)) identical_ = false;
  }

  // Writes rows i … i + count − 1 of matrix `side` (0 is a, 1 is b) into their lines, and |x̂|² of each to `norm`.
  void pack_rows(const MatrixView& x, int side, std::int64_t i, std::int64_t count, std::vector<double>& row, T* rows,
                 T* out, T* norm) {
    for (std::int64_t r = 0; r < count; ++r) {
      const RowKind kind = normalised(kernels_, x, i + r, centre_, row, rows + r * x.cols);
      if (kind == RowKind::not_finite) record_bad_row(2 * (i + r) + side);
      norm[r] = kind == RowKind::ordinary ? T(1) : T(0);
    }
    kernels_.write_lines(rows, count, x.cols, view_.pairs, out + side * width_, 2 * width_);
    kernels_.write_lines(rows + view_.pairs, count, x.cols, x.cols - view_.pairs, out + 2 * view_.pairs * width_,
                         width_);
  }

  bool is_identical(const T* row) const {
    for (std::int64_t j = 0; j < view_.pairs; ++j)
      if (row[2 * j * width_] != row[(2 * j + 1) * width_]) return false;
    return true;
  }

  void record_bad_row(std::int64_t bad) {
    std::int64_t seen = first_bad_.load();
    while (bad < seen && !first_bad_.compare_exchange_weak(seen, bad)) {
    }
  }

  const MatrixView &a_, &b_;
  const KernelsOf<T>& kernels_;
  const bool centre_;
  const std::int64_t width_;
  PackedPairView<T> view_;
  std::unique_ptr<AlignedBuffer<T>> lines_, norms_;
  std::atomic<bool> identical_{true};
  std::atomic<std::int64_t> first_bad_{std::numeric_limits<std::int64_t>::max()};  // 2·row + (0 for a, 1 for b)
};

// Packs models first … last − 1 in parallel. Throws for the first one that is not finite, as `name`[index].
template <typename T>
std::vector<std::unique_ptr<PackedModel<T>>> pack_models(const std::vector<MatrixView>& models, std::int64_t first,
                                                         std::int64_t last, const std::string& name, Metric metric,
                                                         double sigma, int threads, const CpuOptions& options);

}  // namespace sac
