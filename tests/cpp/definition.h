// Correlations and distances of random models by their definitions.
#pragma once

#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

#include "sac/detail/matrix_view.h"
#include "sac/detail/metric.h"

namespace definition {

#ifdef __x86_64__
using Real = long double;
#else
using Real = double;  // long double is software there, far too slow under an emulator
#endif

// An (n, k) matrix inside a wider one, so that strides are not trivial.
template <typename T>
struct Model {
  std::int64_t n, k;
  std::vector<T> data;
  Model(std::int64_t n_, std::int64_t k_, unsigned seed) : n(n_), k(k_), data(static_cast<std::size_t>(n_ * (k_ + 3))) {
    std::mt19937 random(seed);
    std::normal_distribution<double> normal;
    for (T& x : data) x = static_cast<T>(normal(random));
    if (n > 4)
      for (std::int64_t j = 0; j < k; ++j) data[static_cast<std::size_t>(2 * (k + 3) + j)] = 0;
  }
  sac::MatrixView view() const {
    return {data.data(), sizeof(T) == 4 ? sac::DType::float32 : sac::DType::float64, n, k, k + 3, 1};
  }
  Real at(std::int64_t i, std::int64_t j) const { return data[static_cast<std::size_t>(i * (k + 3) + j)]; }
};

template <typename T>
std::vector<Real> correlations(const Model<T>& x, sac::Metric metric) {
  std::vector<Real> rows(static_cast<std::size_t>(x.n * x.k)), c(static_cast<std::size_t>(x.n * x.n));
  for (std::int64_t i = 0; i < x.n; ++i) {
    Real mean = 0, squares = 0;
    if (metric == sac::Metric::pearson)
      for (std::int64_t j = 0; j < x.k; ++j) mean += x.at(i, j) / x.k;
    for (std::int64_t j = 0; j < x.k; ++j) squares += (x.at(i, j) - mean) * (x.at(i, j) - mean);
    for (std::int64_t j = 0; j < x.k; ++j)
      rows[static_cast<std::size_t>(i * x.k + j)] = squares > 1e-30 ? (x.at(i, j) - mean) / std::sqrt(squares) : 0;
  }
  for (std::int64_t i = 0; i < x.n; ++i)
    for (std::int64_t j = 0; j < x.n; ++j) {
      Real dot = 0, apart = 0;
      for (std::int64_t l = 0; l < x.k; ++l) {
        const Real u = rows[static_cast<std::size_t>(i * x.k + l)], v = rows[static_cast<std::size_t>(j * x.k + l)];
        dot += u * v;
        apart += (u - v) * (u - v);
      }
      c[static_cast<std::size_t>(i * x.n + j)] = metric == sac::Metric::rbf ? std::exp(-apart) : dot;
    }
  return c;
}

inline double distance_by_definition(const std::vector<Real>& c_a, const std::vector<Real>& c_b) {
  Real sum = 0;
  for (std::size_t e = 0; e < c_a.size(); ++e) sum += std::fabs(c_a[e] - c_b[e]);
  return static_cast<double>(sum / static_cast<Real>(c_a.size()));
}

// wᵀDw / (Σw)²
inline double distance_by_definition(const std::vector<Real>& c_a, const std::vector<Real>& c_b, const double* w,
                                     std::size_t n) {
  Real sum = 0, total = 0;
  for (std::size_t i = 0; i < n; ++i) total += w[i];
  for (std::size_t i = 0; i < n; ++i)
    for (std::size_t j = 0; j < n; ++j)
      sum += std::fabs(c_a[i * n + j] - c_b[i * n + j]) * (w[i] / total) * (w[j] / total);
  return static_cast<double>(sum);
}

// W_ij = Σ_r shares_r w_ri w_rj / (Σ_i w_ri)² of two weightings.
inline std::vector<Real> weights_by_definition(const std::vector<double>& w, const double* shares, std::size_t n) {
  std::vector<Real> all(n * n);
  for (std::size_t r = 0; r < 2; ++r) {
    Real total = 0;
    for (std::size_t i = 0; i < n; ++i) total += w[r * n + i];
    for (std::size_t e = 0; e < n * n; ++e)
      all[e] += shares[r] * (w[r * n + e / n] / total) * (w[r * n + e % n] / total);
  }
  return all;
}

// The gradient of Σ_ij W_ij |C^a_ij − C^b_ij| in the entries of a, W symmetric: through the rows' normalisation. NaN
// for rows with a difference whose sign float32 cannot tell.
template <typename T>
std::vector<double> gradient_by_definition(const Model<T>& a, const std::vector<Real>& c_a,
                                           const std::vector<Real>& c_b, sac::Metric metric,
                                           const std::vector<Real>& w) {
  std::vector<Real> unit(static_cast<std::size_t>(a.n * a.k)), norms(static_cast<std::size_t>(a.n));
  for (std::int64_t i = 0; i < a.n; ++i) {
    Real mean = 0, squares = 0;
    if (metric == sac::Metric::pearson)
      for (std::int64_t l = 0; l < a.k; ++l) mean += a.at(i, l) / a.k;
    for (std::int64_t l = 0; l < a.k; ++l) squares += (a.at(i, l) - mean) * (a.at(i, l) - mean);
    norms[static_cast<std::size_t>(i)] = squares > 1e-30 ? std::sqrt(squares) : 0;
    for (std::int64_t l = 0; l < a.k; ++l)
      unit[static_cast<std::size_t>(i * a.k + l)] = squares > 1e-30 ? (a.at(i, l) - mean) / std::sqrt(squares) : 0;
  }
  std::vector<double> gradient(unit.size());
  for (std::int64_t i = 0; i < a.n; ++i) {
    std::vector<Real> row(static_cast<std::size_t>(a.k));
    bool is_sure = true;
    for (std::int64_t j = 0; j < a.n; ++j) {
      const auto at = static_cast<std::size_t>(i * a.n + j);
      const Real apart = c_a[at] - c_b[at], sign = std::fabs(apart) < 1e-12 ? 0 : apart > 0 ? 1 : -1;
      if (sign != 0 && std::fabs(apart) < 1e-6) is_sure = false;
      const Real slope = 2 * w[at] * sign * (metric == sac::Metric::rbf ? 2 * c_a[at] : Real{1});  // 2σ² = 1
      for (std::int64_t l = 0; l < a.k; ++l)
        row[static_cast<std::size_t>(l)] += slope * unit[static_cast<std::size_t>(j * a.k + l)];
    }
    Real along = 0, mean = 0;
    for (std::int64_t l = 0; l < a.k; ++l) {
      along += row[static_cast<std::size_t>(l)] * unit[static_cast<std::size_t>(i * a.k + l)];
      if (metric == sac::Metric::pearson) mean += row[static_cast<std::size_t>(l)] / a.k;
    }
    if (norms[static_cast<std::size_t>(i)] == 0) continue;
    for (std::int64_t l = 0; l < a.k; ++l) {
      const auto at = static_cast<std::size_t>(i * a.k + l);
      gradient[at] = !is_sure ? NAN
                              : static_cast<double>((row[static_cast<std::size_t>(l)] - mean - along * unit[at]) /
                                                    norms[static_cast<std::size_t>(i)]);
    }
  }
  return gradient;
}

}  // namespace definition
