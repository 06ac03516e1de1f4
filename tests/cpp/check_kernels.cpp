// The CPU kernels against the definition in long double, for every instruction set that this processor has.
// .ci/run compiles this with AddressSanitizer and UndefinedBehaviorSanitizer and runs it.
#include <atomic>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <new>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "cpu/detail/parallel.h"
#include "sac/correlation_distance.h"
#include "sac/correlation_distance_weighted.h"
#include "sac/correlation_distances.h"
#include "sac/correlation_vector.h"
#include "sac/nearest_models.h"
#include "sac/pairwise_correlation_distances.h"

namespace {

using sac::InstructionSet;
using sac::MatrixView;
using sac::Metric;

int failures = 0;

void expect_near(double actual, double expected, double tolerance, const char* what, std::int64_t n, std::int64_t k) {
  if (std::fabs(actual - expected) <= tolerance) return;
  std::printf("%s n=%ld k=%ld: expected %.9g, got %.9g\n", what, static_cast<long>(n), static_cast<long>(k), expected,
              actual);
  ++failures;
}

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
  MatrixView view() const {
    return {data.data(), sizeof(T) == 4 ? sac::DType::float32 : sac::DType::float64, n, k, k + 3, 1};
  }
  long double at(std::int64_t i, std::int64_t j) const { return data[static_cast<std::size_t>(i * (k + 3) + j)]; }
};

template <typename T>
std::vector<long double> correlations(const Model<T>& x, Metric metric) {
  std::vector<long double> rows(static_cast<std::size_t>(x.n * x.k)), c(static_cast<std::size_t>(x.n * x.n));
  for (std::int64_t i = 0; i < x.n; ++i) {
    long double mean = 0, squares = 0;
    if (metric == Metric::pearson)
      for (std::int64_t j = 0; j < x.k; ++j) mean += x.at(i, j) / x.k;
    for (std::int64_t j = 0; j < x.k; ++j) squares += (x.at(i, j) - mean) * (x.at(i, j) - mean);
    for (std::int64_t j = 0; j < x.k; ++j)
      rows[static_cast<std::size_t>(i * x.k + j)] = squares > 1e-30L ? (x.at(i, j) - mean) / std::sqrt(squares) : 0;
  }
  for (std::int64_t i = 0; i < x.n; ++i)
    for (std::int64_t j = 0; j < x.n; ++j) {
      long double dot = 0, apart = 0;
      for (std::int64_t l = 0; l < x.k; ++l) {
        const long double u = rows[static_cast<std::size_t>(i * x.k + l)],
                          v = rows[static_cast<std::size_t>(j * x.k + l)];
        dot += u * v;
        apart += (u - v) * (u - v);
      }
      c[static_cast<std::size_t>(i * x.n + j)] = metric == Metric::rbf ? std::exp(-apart) : dot;
    }
  return c;
}

double defined(const std::vector<long double>& c_a, const std::vector<long double>& c_b) {
  long double sum = 0;
  for (std::size_t e = 0; e < c_a.size(); ++e) sum += std::fabs(c_a[e] - c_b[e]);
  return static_cast<double>(sum / static_cast<long double>(c_a.size()));
}

// wᵀDw / (Σw)²
double defined(const std::vector<long double>& c_a, const std::vector<long double>& c_b, const double* w,
               std::size_t n) {
  long double sum = 0, total = 0;
  for (std::size_t i = 0; i < n; ++i) {
    total += w[i];
    for (std::size_t j = 0; j < n; ++j) sum += std::fabs(c_a[i * n + j] - c_b[i * n + j]) * w[i] * w[j];
  }
  return static_cast<double>(sum / total / total);
}

template <typename T>
void check(std::int64_t n, std::int64_t k, Metric metric, const sac::CpuOptions& options) {
  const double tolerance = sizeof(T) == 4 ? 1e-6 : 1e-12, sigma = std::sqrt(0.5);
  const std::vector<Model<T>> models = {{n, k, 1}, {n, k, 2}, {n, k + 2, 3}, {n, 1, 4}, {n, k, 5}};
  std::vector<MatrixView> views;
  std::vector<std::vector<long double>> matrices;
  for (const auto& model : models) {
    views.push_back(model.view());
    matrices.push_back(correlations(model, metric));
  }
  const auto m = static_cast<std::int64_t>(models.size());
  std::vector<double> expected(static_cast<std::size_t>(m * m)), row(static_cast<std::size_t>(m));
  for (std::int64_t i = 0; i < m; ++i)
    for (std::int64_t j = 0; j < m; ++j)
      expected[static_cast<std::size_t>(i * m + j)] =
          defined(matrices[static_cast<std::size_t>(i)], matrices[static_cast<std::size_t>(j)]);
  for (std::int64_t j = 0; j < m; ++j)
    expect_near(sac::correlation_distance_cpu(views[0], views[static_cast<std::size_t>(j)], metric, sigma, options),
                expected[static_cast<std::size_t>(j)], tolerance, "correlation_distance", n, k);
  // an odd number of replicates, so that the last tile of them is not full
  const std::int64_t replicates = 11;
  std::vector<double> weights(static_cast<std::size_t>(replicates * n)), weighted(static_cast<std::size_t>(replicates));
  for (std::size_t e = 0; e < weights.size(); ++e) weights[e] = static_cast<double>((7 * e + e / 5) % 4);
  for (std::int64_t r = 0; r < replicates; ++r) weights[static_cast<std::size_t>(r * n)] = 1 + static_cast<double>(r);
  for (std::int64_t i = 0; i < n; ++i) weights[static_cast<std::size_t>(i)] *= 1e200;
  for (std::size_t j : {1u, 2u, 3u}) {
    sac::correlation_distance_weighted_cpu(views[0], views[j], weights.data(), replicates, metric, sigma, options,
                                           weighted.data());
    for (std::int64_t r = 0; r < replicates; ++r)
      expect_near(
          weighted[static_cast<std::size_t>(r)],
          defined(matrices[0], matrices[j], &weights[static_cast<std::size_t>(r * n)], static_cast<std::size_t>(n)),
          tolerance, "correlation_distance_weighted", n, k);
  }
  sac::correlation_distances_cpu(views[0], views, metric, sigma, options, row.data());
  std::vector<double> all(static_cast<std::size_t>(m * m));
  sac::pairwise_correlation_distances_cpu(views, metric, sigma, true, options, all.data());
  for (std::int64_t e = 0; e < m; ++e)
    expect_near(row[static_cast<std::size_t>(e)], expected[static_cast<std::size_t>(e)], tolerance,
                "correlation_distances", n, k);
  for (std::int64_t e = 0; e < m * m; ++e)
    expect_near(all[static_cast<std::size_t>(e)], expected[static_cast<std::size_t>(e)], tolerance,
                "pairwise_correlation_distances", n, k);
  for (const std::int64_t candidates : {0, 3}) {
    const sac::NearestOptions nearest{2, candidates, options};
    std::vector<double> values(static_cast<std::size_t>(2 * m));
    std::vector<std::int64_t> indices(static_cast<std::size_t>(2 * m));
    sac::nearest_models_cpu(views, nullptr, metric, sigma, nearest, values.data(), indices.data());
    sac::nearest_models_cpu(views, &views, metric, sigma, nearest, values.data(), indices.data());
    for (std::int64_t i = 0; i < m; ++i)
      expect_near(values[static_cast<std::size_t>(2 * i)], 0.0, 0.0, "nearest_models (itself)", n, k);
  }
  std::vector<double> vector(static_cast<std::size_t>(n * (n - 1) / 2));
  sac::correlation_vector_cpu(views[0], metric, sigma, true, options, vector.data());
  const auto& c = matrices[0];
  for (std::int64_t i = 0, e = 0; i < n; ++i)
    for (std::int64_t j = i + 1; j < n; ++j, ++e)
      expect_near(vector[static_cast<std::size_t>(e)], static_cast<double>(c[static_cast<std::size_t>(i * n + j)]),
                  1e-12, "correlation_vector", n, k);
}

// Stored vectors, read in place: 6 models of 10 entries at an odd address.
void check_stored(const sac::CpuOptions& options) {
  std::vector<std::uint8_t> bytes(61);
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::uint8_t>(37 * i);
  const sac::VectorBatch models{bytes.data() + 1, sac::VectorForm::uint8, 6, 5};
  std::vector<double> values(18);
  std::vector<std::int64_t> indices(18);
  sac::nearest_models_cpu(models, nullptr, {3, 0, options}, values.data(), indices.data());
  for (std::int64_t i = 0; i < 6; ++i) {
    std::int64_t sum = 0;
    for (std::int64_t e = 0; e < 10; ++e)
      sum += std::abs(bytes[static_cast<std::size_t>(1 + i * 10 + e)] -
                      bytes[static_cast<std::size_t>(1 + indices[static_cast<std::size_t>(3 * i)] * 10 + e)]);
    expect_near(values[static_cast<std::size_t>(3 * i)], static_cast<double>(sum) * 2 / 25 / 127.5, 1e-12, "stored", 5,
                1);
  }
}

// An exception in any thread reaches the caller, and all threads are joined.
void check_throwing_tasks() {
  sac::CpuOptions options;
  for (const int threads : {1, 4})
    for (const std::int64_t wrong : {0, 999}) {
      std::atomic<std::int64_t> done{0};
      try {
        sac::parallel_for(1000, threads, options, [&](std::int64_t i) {
          if (i == wrong) throw std::bad_alloc();
          ++done;
        });
        ++failures;
      } catch (const std::bad_alloc&) {
        if (done > 999) ++failures;
      }
    }
}

}  // namespace

int main() {
  check_throwing_tasks();
  int passed = 0;
  for (const auto set : {InstructionSet::portable, InstructionSet::avx2, InstructionSet::avx512}) {
    if (!sac::has_instruction_set(set)) continue;
    sac::CpuOptions options;
    options.threads = 3;
    options.instruction_set = set;
    check_stored(options);
    for (const Metric metric : {Metric::cosine, Metric::pearson, Metric::rbf})
      for (const std::int64_t n : {2, 31, 33, 97})
        for (const std::int64_t k : {1, 7, 40, 300}) {
          check<float>(n, k, metric, options);
          check<double>(n, k, metric, options);
          ++passed;
        }
  }
  // The first row that is not finite is named, whichever thread meets one first.
  Model<float> good(50, 4, 1), bad(50, 4, 2);
  bad.data[static_cast<std::size_t>(17 * 7 + 2)] = NAN;
  bad.data[static_cast<std::size_t>(40 * 7 + 1)] = INFINITY;
  sac::CpuOptions options;
  options.threads = 4;
  try {
    sac::correlation_distance_cpu(good.view(), bad.view(), Metric::cosine, 0.7, options);
    ++failures;
  } catch (const std::invalid_argument& error) {
    if (std::string(error.what()) != "b must be finite, got NaN or Inf in row 17") ++failures;
  }
  std::printf("%d passed, %d failed\n", passed, failures);
  return failures != 0;
}
