// Two models' rows, normalised and packed as kernels.h describes.
#pragma once

#include <algorithm>
#include <atomic>
#include <limits>
#include <memory>
#include <vector>

#include "cpu/kernels.h"
#include "cpu/pack.h"
#include "cpu/packed_rows.h"
#include "cpu/parallel.h"

namespace sac {

// Keeps references to a and b.
template <typename T>
class PackedModels {
 public:
  PackedModels(const MatrixView& a, const MatrixView& b, Metric metric, double sigma, int width, int threads,
               const CpuOptions& options)
      : a_(a), b_(b), centre_(metric == Metric::pearson), width_(width) {
    pair_.pairs = std::min(a.cols, b.cols);
    pair_.rest = std::max(a.cols, b.cols) - pair_.pairs;
    pair_.rest_is_a = a.cols > b.cols;
    pair_.panels = (a.rows + width - 1) / width;
    lines_ = std::make_unique<AlignedBuffer<T>>(pair_.panels * panel_size());
    pair_.lines = lines_->data();
    norms_ = std::make_unique<AlignedBuffer<T>>(2 * pair_.panels * width);
    pair_.norms_a = norms_->data();
    pair_.norms_b = norms_->data() + pair_.panels * width;
    pair_.inverse_bandwidth = static_cast<T>(0.5 / (sigma * sigma));
    // A thread started for less than this many numbers comes too late to help.
    const double numbers = static_cast<double>(a.rows) * static_cast<double>(a.cols + b.cols);
    const int useful = numbers < 2e5 ? 1 : threads;
    parallel_for(pair_.panels, useful, options, [this](std::int64_t p) { pack_panel(p); });
    if (first_bad_ < std::numeric_limits<std::int64_t>::max())
      throw not_finite(first_bad_ % 2 ? "b" : "a", first_bad_ / 2);
  }

  const PackedPair<T>& pair() const { return pair_; }
  bool identical() const { return identical_; }
  std::int64_t panel_size() const { return (2 * pair_.pairs + pair_.rest) * width_; }

 private:
  void pack_panel(std::int64_t p) {
    std::vector<double> row_a(a_.cols), row_b(b_.cols);
    T* panel = lines_->data() + p * panel_size();
    T* norm_a = norms_->data() + p * width_;
    T* norm_b = norm_a + pair_.panels * width_;
    const std::int64_t first = p * width_, filled = std::min<std::int64_t>(width_, a_.rows - first);
    if (filled < width_) std::fill(panel, panel + panel_size(), T(0));
    for (int r = 0; r < width_; ++r) {
      norm_a[r] = norm_b[r] = std::numeric_limits<T>::infinity();
      if (r >= filled) continue;
      norm_a[r] = put(a_, 0, first + r, row_a, panel + r);
      norm_b[r] = put(b_, 1, first + r, row_b, panel + r);
      if (a_.cols != b_.cols || !same(panel + r)) identical_ = false;
    }
  }

  // Writes row i of matrix `which` into its lines; returns |x̂_i|².
  T put(const MatrixView& x, int which, std::int64_t i, std::vector<double>& row, T* out) {
    const RowKind kind = normalise_row(x, i, centre_, row.data());
    if (kind == RowKind::not_finite) report(2 * i + which);
    if (kind != RowKind::ordinary) std::fill(row.begin(), row.end(), 0.0);
    for (std::int64_t j = 0; j < pair_.pairs; ++j) out[(2 * j + which) * width_] = static_cast<T>(row[j]);
    for (std::int64_t j = pair_.pairs; j < x.cols; ++j) out[(pair_.pairs + j) * width_] = static_cast<T>(row[j]);
    return kind == RowKind::ordinary ? T(1) : T(0);
  }

  bool same(const T* row) const {
    for (std::int64_t j = 0; j < pair_.pairs; ++j)
      if (row[2 * j * width_] != row[(2 * j + 1) * width_]) return false;
    return true;
  }

  void report(std::int64_t bad) {
    std::int64_t seen = first_bad_.load();
    while (bad < seen && !first_bad_.compare_exchange_weak(seen, bad)) {
    }
  }

  const MatrixView &a_, &b_;
  const bool centre_;
  const std::int64_t width_;
  PackedPair<T> pair_;
  std::unique_ptr<AlignedBuffer<T>> lines_, norms_;
  std::atomic<bool> identical_{true};
  std::atomic<std::int64_t> first_bad_{std::numeric_limits<std::int64_t>::max()};  // 2·row + (0 for a, 1 for b)
};

}  // namespace sac
