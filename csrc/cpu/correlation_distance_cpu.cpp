#include <algorithm>
#include <vector>

#include "cpu/detail/correlation_gradient.h"
#include "cpu/detail/packing.h"
#include "cpu/detail/parallel.h"
#include "sac/correlation_distance.h"
#include "sac/detail/triangle.h"

namespace sac {
namespace {

// The panels of a group of tasks should fit half of the L2 cache (1 MiB and more on current cores), and a group should
// not be so large that triangles leave threads idle.
std::int64_t panels_in_group(std::int64_t panel_bytes) {
  constexpr std::int64_t cache = 512 * 1024;
  return std::clamp<std::int64_t>(cache / panel_bytes, 1, 16);
}

constexpr std::int64_t kMaxGroups = 2048;

template <typename T>
double distance(const MatrixView& a, const MatrixView& b, Metric metric, double sigma, const CpuOptions& options) {
  const KernelsOf<T>& kernels = kernels_of<T>(options.instruction_set);
  const std::int64_t n = a.rows;
  const double lines = static_cast<double>(a.cols + b.cols);
  const int threads = useful_threads(static_cast<double>(n) * static_cast<double>(n) * lines, options.threads);
  const PackedPair<T> packed(a, b, metric, sigma, kernels, threads, options);
  if (packed.identical()) return 0.0;

  const auto kernel = metric == Metric::rbf ? kernels.pair_rbf : kernels.pair_dot;
  const std::int64_t panels = packed.view().panels;
  const std::int64_t cached = panels_in_group(packed.panel_size() * static_cast<std::int64_t>(sizeof(T)));
  // With very many panels a group is several cached runs, which bounds the number of tasks.
  const std::int64_t group = cached * (1 + panels / (cached * kMaxGroups));
  const std::int64_t groups = ceil_div(panels, group);
  // Task t is the block (i, j), i ≤ j, of groups; each has its own entry of `sums`; they are added in order.
  const std::int64_t tasks = triangle_size(groups);
  std::vector<double> sums(static_cast<std::size_t>(tasks));
  parallel_for(tasks, threads, options, [&](std::int64_t t) {
    const auto [i, j] = triangle_tile(t, groups);
    const std::int64_t rows_end = std::min(panels, (i + 1) * group);
    const std::int64_t cols_end = std::min(panels, (j + 1) * group);
    double sum = 0;
    for (std::int64_t p = i * group; p < rows_end; p += cached)
      sum += kernel(packed.view(), p, std::min(rows_end, p + cached), j * group, cols_end);
    sums[t] = sum;
  });
  double total = 0;
  for (const double sum : sums) total += sum;
  return total / static_cast<double>(n) / static_cast<double>(n);
}

}  // namespace

double correlation_distance_cpu(const MatrixView& a, const MatrixView& b, Metric metric, double sigma,
                                const CpuOptions& options) {
  const bool wide = needs_float64(a, metric, sigma) || needs_float64(b, metric, sigma);
  return wide ? distance<double>(a, b, metric, sigma, options) : distance<float>(a, b, metric, sigma, options);
}

void correlation_distance_backward_cpu(const MatrixView& a, const MatrixView& b, Metric metric, double sigma,
                                       double factor, const CpuOptions& options, double* grad_a, double* grad_b) {
  const double probes = static_cast<double>(a.rows);
  correlation_gradient(a, b, metric, sigma, {factor / probes / probes, nullptr, nullptr, 0}, options, grad_a, grad_b);
}

}  // namespace sac
