// The nearest models so far of each query, sorted by distance, then index.
#pragma once

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <limits>
#include <stdexcept>

namespace sac {

inline std::invalid_argument not_finite_vector() {
  return std::invalid_argument("models and queries must be finite, got a vector with NaN or Inf");
}

class TopK {
 public:
  TopK(std::int64_t queries, std::int64_t top, double* distances, std::int64_t* indices)
      : top_(top), distances_(distances), indices_(indices) {
    std::fill(distances, distances + queries * top, std::numeric_limits<double>::infinity());
    std::fill(indices, indices + queries * top, std::numeric_limits<std::int64_t>::max());
  }

  // A distance that is not finite means a stored vector is not.
  void insert(std::int64_t query, std::int64_t model, double distance) {
    if (!std::isfinite(distance)) not_finite_.store(true, std::memory_order_relaxed);
    double* d = distances_ + query * top_;
    std::int64_t* i = indices_ + query * top_;
    std::int64_t place = top_ - 1;
    if (!before(distance, model, d[place], i[place])) return;
    for (; place > 0 && before(distance, model, d[place - 1], i[place - 1]); --place) {
      d[place] = d[place - 1];
      i[place] = i[place - 1];
    }
    d[place] = distance;
    i[place] = model;
  }

  std::int64_t top() const { return top_; }

  void check() const {
    if (not_finite_) throw not_finite_vector();
  }

 private:
  static bool before(double d, std::int64_t i, double other_d, std::int64_t other_i) {
    return d < other_d || (d == other_d && i < other_i);
  }
  std::int64_t top_;
  double* distances_;
  std::int64_t* indices_;
  std::atomic<bool> not_finite_{false};
};

}  // namespace sac
