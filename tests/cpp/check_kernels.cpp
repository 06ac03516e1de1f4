// The CPU kernels against their definitions, for every instruction set of this processor. Usage: check_kernels [NAME
// …], or --list. tests/cpp/check.sh builds it with several compilers, with sanitizers, and for aarch64.
#include <atomic>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <new>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "byte_vectors.h"
#include "cpu/detail/parallel.h"
#include "definition.h"
#include "expect.h"
#include "jpeg_scratch.h"
#include "sac/correlation_distance.h"
#include "sac/correlation_distance_weighted.h"
#include "sac/correlation_distances.h"
#include "sac/correlation_vector.h"
#include "sac/jpeg_roundtrip.h"
#include "sac/nearest_models.h"
#include "sac/pairwise_correlation_distances.h"

namespace {

using namespace definition;
using namespace expectations;
using jpeg_scratch::jpeg_scratch_memory;
using sac::InstructionSet;
using sac::MatrixView;
using sac::Metric;
using sac::Subsampling;

std::vector<sac::CpuOptions> options_of_each_set() {
  std::vector<sac::CpuOptions> all;
  for (const auto set : {InstructionSet::portable, InstructionSet::avx2, InstructionSet::avx512})
    if (sac::has_instruction_set(set)) all.push_back({3, set, nullptr});
  return all;
}

// Five models of n probes, and their distances by definition.
template <typename T>
struct Case {
  std::int64_t n, k, m = 5;
  Metric metric;
  double sigma = std::sqrt(0.5), tolerance = sizeof(T) == 4 ? 1e-6 : 1e-12;
  std::vector<Model<T>> models;
  std::vector<MatrixView> views;
  std::vector<std::vector<Real>> matrices;
  std::vector<double> expected;
  // of the models 0 and j, weighted or not, by definition: what takes longest, so that the instruction sets share it
  mutable std::map<std::pair<std::size_t, bool>, std::pair<std::vector<double>, std::vector<double>>> gradients;

  Case(std::int64_t n_, std::int64_t k_, Metric metric_)
      : n(n_), k(k_), metric(metric_), models{{n, k, 1}, {n, k, 2}, {n, k + 2, 3}, {n, 1, 4}, {n, k, 5}} {
    for (const auto& model : models) {
      views.push_back(model.view());
      matrices.push_back(correlations(model, metric));
    }
    for (const auto& a : matrices)
      for (const auto& b : matrices) expected.push_back(distance_by_definition(a, b));
  }
};

template <typename T>
void correlation_distance(const Case<T>& c, const sac::CpuOptions& options) {
  for (std::size_t j = 0; j < c.views.size(); ++j)
    expect_near(sac::correlation_distance_cpu(c.views[0], c.views[j], c.metric, c.sigma, options), c.expected[j],
                c.tolerance, "correlation_distance", c.n, c.k);
}

template <typename T>
void correlation_distance_weighted(const Case<T>& c, const sac::CpuOptions& options) {
  const std::size_t replicates = 11, n = static_cast<std::size_t>(c.n);  // odd: the last tile of replicates is not full
  std::vector<double> weights(replicates * n), distances(replicates);
  for (std::size_t e = 0; e < weights.size(); ++e) weights[e] = static_cast<double>((7 * e + e / 5) % 4);
  for (std::size_t r = 0; r < replicates; ++r) weights[r * n] = 1 + static_cast<double>(r);
  for (std::size_t i = 0; i < n; ++i) weights[i] *= 1e200;
  for (const std::size_t j : {1u, 2u, 3u}) {
    sac::correlation_distance_weighted_cpu(c.views[0], c.views[j], weights.data(), replicates, c.metric, c.sigma,
                                           options, distances.data());
    for (std::size_t r = 0; r < replicates; ++r)
      expect_near(distances[r], distance_by_definition(c.matrices[0], c.matrices[j], &weights[r * n], n), c.tolerance,
                  "correlation_distance_weighted", c.n, c.k);
  }
}

// Plain and with two weightings, of which one counts negative; both gradients at a time, and one alone.
template <typename T>
void gradients(const Case<T>& c, const sac::CpuOptions& options) {
  const std::size_t n = static_cast<std::size_t>(c.n);
  std::vector<double> weights(2 * n);
  for (std::size_t e = 0; e < 2 * n; ++e) weights[e] = static_cast<double>((7 * e + e / 5) % 4 + 1);
  const double shares[2] = {0.5, -2};
  for (const std::size_t j : {1u, 2u, 3u})
    for (const bool weighted : {false, true}) {
      auto& [wanted_a, wanted_b] = c.gradients[{j, weighted}];
      if (wanted_a.empty()) {
        const auto w = weighted ? weights_by_definition(weights, shares, n) : std::vector<Real>(n * n, Real{3} / n / n);
        wanted_a = gradient_by_definition(c.models[0], c.matrices[0], c.matrices[j], c.metric, w);
        wanted_b = gradient_by_definition(c.models[j], c.matrices[j], c.matrices[0], c.metric, w);
      }
      std::vector<double> grad_a(wanted_a.size()), grad_b(wanted_b.size()), alone(wanted_b.size());
      const auto run = [&](double* first, double* second) {
        if (weighted)
          sac::correlation_distance_weighted_backward_cpu(c.views[0], c.views[j], weights.data(), 2, c.metric, c.sigma,
                                                          shares, options, first, second);
        else
          sac::correlation_distance_backward_cpu(c.views[0], c.views[j], c.metric, c.sigma, 3, options, first, second);
      };
      run(grad_a.data(), grad_b.data());
      run(nullptr, alone.data());
      expect(alone == grad_b, "gradients: one gradient alone must be that of both");
      const double tolerance = 10 * c.tolerance / static_cast<double>(n);
      for (std::size_t e = 0; e < grad_a.size(); ++e)
        if (!std::isnan(wanted_a[e])) expect_near(grad_a[e], wanted_a[e], tolerance, "gradient of a", c.n, c.k);
      for (std::size_t e = 0; e < grad_b.size(); ++e)
        if (!std::isnan(wanted_b[e])) expect_near(grad_b[e], wanted_b[e], tolerance, "gradient of b", c.n, c.k);
    }
}

template <typename T>
void correlation_distances(const Case<T>& c, const sac::CpuOptions& options) {
  std::vector<double> distances(c.views.size());
  sac::correlation_distances_cpu(c.views[0], c.views, c.metric, c.sigma, options, distances.data());
  for (std::size_t j = 0; j < distances.size(); ++j)
    expect_near(distances[j], c.expected[j], c.tolerance, "correlation_distances", c.n, c.k);
}

template <typename T>
void pairwise_correlation_distances(const Case<T>& c, const sac::CpuOptions& options) {
  std::vector<T> distances(c.expected.size());
  sac::pairwise_correlation_distances_cpu(c.views, c.metric, c.sigma, sizeof(T) == 8, options, distances.data());
  for (std::size_t e = 0; e < distances.size(); ++e)
    expect_near(distances[e], c.expected[e], c.tolerance, "pairwise_correlation_distances", c.n, c.k);
}

template <typename T>
void correlation_vector(const Case<T>& c, const sac::CpuOptions& options) {
  std::vector<double> vector(static_cast<std::size_t>(c.n * (c.n - 1) / 2));
  sac::correlation_vector_cpu(c.views[0], c.metric, c.sigma, true, options, vector.data());
  for (std::int64_t i = 0, e = 0; i < c.n; ++i)
    for (std::int64_t j = i + 1; j < c.n; ++j, ++e)
      expect_near(vector[static_cast<std::size_t>(e)],
                  static_cast<double>(c.matrices[0][static_cast<std::size_t>(i * c.n + j)]), 1e-12,
                  "correlation_vector", c.n, c.k);
}

template <typename T>
void nearest_models(const Case<T>& c, const sac::CpuOptions& options) {
  for (const std::int64_t candidates : {0, 3}) {
    std::vector<double> distances(static_cast<std::size_t>(2 * c.m));
    std::vector<std::int64_t> indices(static_cast<std::size_t>(2 * c.m));
    sac::nearest_models_cpu(c.views, nullptr, c.metric, c.sigma, {2, candidates, options}, distances.data(),
                            indices.data());
    sac::nearest_models_cpu(c.views, &c.views, c.metric, c.sigma, {2, candidates, options}, distances.data(),
                            indices.data());
    for (std::int64_t i = 0; i < c.m; ++i)
      expect_near(distances[static_cast<std::size_t>(2 * i)], 0.0, 0.0, "nearest_models (itself)", c.n, c.k);
  }
}

// Stored vectors, read in place: 6 models of 10 entries at an odd address.
void nearest_vectors() {
  for (const auto& options : options_of_each_set()) {
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
      expect_near(values[static_cast<std::size_t>(3 * i)], static_cast<double>(sum) * 2 / 25 / 127.5, 1e-12,
                  "nearest_vectors", 5, 1);
    }
  }
}

// An exception in any thread reaches the caller, and all threads are joined.
void parallel_for() {
  sac::CpuOptions options;
  for (const int threads : {1, 4})
    for (const std::int64_t wrong : {0, 999}) {
      std::atomic<std::int64_t> done{0};
      try {
        sac::parallel_for(1000, threads, options, [&](std::int64_t i) {
          if (i == wrong) throw std::bad_alloc();
          ++done;
        });
        expect(false, "parallel_for: no exception");
      } catch (const std::bad_alloc&) {
        expect(done <= 999, "parallel_for: a task ran twice");
      }
    }
}

// The first row that is not finite is named, whichever thread meets one first.
void not_finite() {
  Model<float> good(50, 4, 1), bad(50, 4, 2);
  bad.data[static_cast<std::size_t>(17 * 7 + 2)] = NAN;
  bad.data[static_cast<std::size_t>(40 * 7 + 1)] = INFINITY;
  sac::CpuOptions options;
  options.threads = 4;
  try {
    sac::correlation_distance_cpu(good.view(), bad.view(), Metric::cosine, 0.7, options);
    expect(false, "not_finite: no exception");
  } catch (const std::invalid_argument& error) {
    expect(std::string(error.what()) == "b must be finite, got NaN or Inf in row 17", error.what());
  }
}

// Pixels as Pillow gives them, by the FNV-1a hash of what it returns for the same image.
void jpeg_roundtrip() {
  struct Image {
    int height, width, channels;
    std::uint8_t quality;
    Subsampling subsampling;
    std::uint64_t hash;
  };
  for (const Image& image : {Image{67, 45, 3, 25, Subsampling::s420, 0xd10af811dc756aa8u},
                             Image{67, 45, 3, 10, Subsampling::s422, 0x689fdbec2d2f8051u},
                             Image{67, 45, 3, 90, Subsampling::s444, 0x6cfed237b0b3cff4u},
                             Image{67, 45, 1, 18, Subsampling::s420, 0xf7bec83b81807542u},
                             Image{3, 2, 3, 7, Subsampling::s420, 0x5b8dab5355ad5203u},
                             Image{129, 200, 3, 15, Subsampling::s420, 0xf30e0fad204b80d8u}}) {
    const int c = image.channels, w = image.width;
    std::vector<std::uint8_t> pixels(static_cast<std::size_t>(image.height * w * c)), out(pixels.size());
    std::uint32_t state = 1;
    for (int i = 0; i < image.height * w * c; ++i) {
      state = state * 1664525u + 1013904223u;
      pixels[static_cast<std::size_t>(i)] =
          static_cast<std::uint8_t>(static_cast<std::uint32_t>(i / c * 7 / w * 3 + i % (w * c)) + (state >> 27));
    }
    for (const auto& options : options_of_each_set()) {
      sac::jpeg_roundtrip_cpu({pixels.data(), out.data(), 1, image.height, w, c, &image.quality, 0, image.subsampling},
                              options);
      std::uint64_t hash = 0xcbf29ce484222325u;
      for (const std::uint8_t byte : out) hash = (hash ^ byte) * 0x100000001b3u;
      expect(hash == image.hash, "jpeg_roundtrip: other pixels than Pillow's");
    }
  }
}

void byte_vectors() {
  for (const auto& options : options_of_each_set()) expect(byte_vectors_are_right(options), "byte_vectors: wrong");
}

struct Check {
  const char* name;
  void (*run)();
  // or, for each case:
  void (*run_float)(const Case<float>&, const sac::CpuOptions&);
  void (*run_double)(const Case<double>&, const sac::CpuOptions&);
};

#define SAC_OP_CHECK(name) {#name, nullptr, name<float>, name<double>}
#define SAC_CHECK(name) {#name, name, nullptr, nullptr}
constexpr Check kChecks[] = {SAC_OP_CHECK(correlation_distance),
                             SAC_OP_CHECK(correlation_distance_weighted),
                             SAC_OP_CHECK(gradients),
                             SAC_OP_CHECK(correlation_distances),
                             SAC_OP_CHECK(pairwise_correlation_distances),
                             SAC_OP_CHECK(correlation_vector),
                             SAC_OP_CHECK(nearest_models),
                             SAC_CHECK(nearest_vectors),
                             SAC_CHECK(byte_vectors),
                             SAC_CHECK(jpeg_roundtrip),
                             SAC_CHECK(jpeg_scratch_memory),
                             SAC_CHECK(parallel_for),
                             SAC_CHECK(not_finite)};

void run_cases(const std::vector<const Check*>& checks) {
  for (const Metric metric : {Metric::cosine, Metric::pearson, Metric::rbf})
    for (const std::int64_t n : {2, 31, 33, 97})
      for (const std::int64_t k : {1, 7, 40, 300}) {
#ifndef SAC_X86_64
        if (n * k > 10000) continue;  // minutes in an emulator
#endif
        const Case<float> singles(n, k, metric);
        const Case<double> doubles(n, k, metric);
        for (const auto& options : options_of_each_set())
          for (const Check* check : checks) {
            check->run_float(singles, options);
            check->run_double(doubles, options);
          }
      }
}

}  // namespace

int main(int count, char** arguments) {
  std::vector<std::string> names(arguments + 1, arguments + count);
  if (names == std::vector<std::string>{"--list"}) {
    for (const Check& check : kChecks) std::puts(check.name);
    return 0;
  }
  std::vector<const Check*> with_cases;
  std::size_t selected = 0;
  for (const Check& check : kChecks) {
    bool wanted = names.empty();
    for (const auto& name : names) wanted = wanted || name == check.name;
    if (!wanted) continue;
    ++selected;
    check.run ? check.run() : with_cases.push_back(&check);
  }
  if (selected == 0 || selected < names.size()) {
    std::fprintf(stderr, "unknown check; --list names them\n");
    return 2;
  }
  if (!with_cases.empty()) run_cases(with_cases);
  std::printf("%zu checks, %zu instruction sets, %d failures\n", selected, options_of_each_set().size(), failures);
  return failures != 0;
}
