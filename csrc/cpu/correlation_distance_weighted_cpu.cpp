#include <algorithm>
#include <cmath>
#include <vector>

#include "cpu/detail/correlation_gradient.h"
#include "cpu/detail/packing.h"
#include "cpu/detail/parallel.h"
#include "sac/correlation_distance_weighted.h"
#include "sac/detail/triangle.h"

namespace sac {
namespace {

// A run of blocks of D, which all replicates read in turn, should leave half of the L1 or a quarter of the L2 cache to
// the weights.
constexpr std::int64_t kRunBytes = 64 * 1024;
// Groups along one side below which threads idle, and the limit of the partial sums of all tasks.
constexpr std::int64_t kMinGroups = 8;
constexpr std::int64_t kPartialBytes = 64 << 20;

// The weights in the two orders that the kernel reads, padded with zeros: each replicate scaled by a power of two, so
// that squares neither overflow nor vanish and counts stay exact.
template <typename T>
class PackedWeights {
 public:
  PackedWeights(const double* weights, std::int64_t replicates, std::int64_t n, std::int64_t padded, int tile,
                int threads, const CpuOptions& options)
      : tiles_(ceil_div(replicates, tile)),
        padded_(padded),
        tile_(tile),
        sums_(static_cast<std::size_t>(replicates)),
        by_probe_(tiles_ * tile * padded),
        by_replicate_(tiles_ * tile * padded) {
    parallel_for(tiles_, threads, options, [&](std::int64_t t) {
      T* lines = by_probe_.data() + t * tile * padded;
      T* rows = by_replicate_.data() + t * tile * padded;
      std::fill(lines, lines + tile * padded, T(0));
      std::fill(rows, rows + tile * padded, T(0));
      const std::int64_t filled = std::min<std::int64_t>(tile, replicates - t * tile);
      for (std::int64_t r = 0; r < filled; ++r) {
        const double* given = weights + (t * tile + r) * n;
        int exponent;
        std::frexp(*std::max_element(given, given + n), &exponent);
        // in two steps: the power of two itself may overflow
        const double half = std::ldexp(1.0, -(exponent / 2)), rest = std::ldexp(1.0, exponent / 2 - exponent);
        double sum = 0;
        for (std::int64_t i = 0; i < n; ++i) {
          const T w = static_cast<T>(given[i] * half * rest);
          lines[i * tile + r] = rows[r * padded + i] = w;
          sum += static_cast<double>(w);
        }
        sums_[static_cast<std::size_t>(t * tile + r)] = sum;
      }
    });
  }

  std::int64_t tiles() const { return tiles_; }
  double sum(std::int64_t replicate) const { return sums_[static_cast<std::size_t>(replicate)]; }
  // of a tile of replicates, from probe i on
  const T* by_probe(std::int64_t t, std::int64_t i) const { return by_probe_.data() + (t * padded_ + i) * tile_; }
  const T* by_replicate(std::int64_t t, std::int64_t i) const { return by_replicate_.data() + t * tile_ * padded_ + i; }

 private:
  std::int64_t tiles_, padded_;
  int tile_;
  std::vector<double> sums_;
  AlignedBuffer<T> by_probe_, by_replicate_;
};

template <typename T>
void weighted(const MatrixView& a, const MatrixView& b, const double* weights, std::int64_t replicates, Metric metric,
              double sigma, const CpuOptions& options, double* distances) {
  const KernelsOf<T>& kernels = kernels_of<T>(options.instruction_set);
  const auto block = metric == Metric::rbf ? kernels.pair_block_rbf : kernels.pair_block_dot;
  const std::int64_t n = a.rows, width = kernels.width, tile = kernels.replicate_tile;
  const double lines = static_cast<double>(a.cols + b.cols + replicates);
  const int threads = useful_threads(static_cast<double>(n) * static_cast<double>(n) * lines, options.threads);
  const PackedPair<T> packed(a, b, metric, sigma, kernels, threads, options);
  std::fill(distances, distances + replicates, 0.0);
  if (packed.identical()) return;

  const std::int64_t panels = packed.view().panels, padded = panels * width;
  const PackedWeights<T> packed_weights(weights, replicates, n, padded, kernels.replicate_tile, threads, options);
  const std::int64_t replicates_padded = packed_weights.tiles() * tile;
  const std::int64_t block_size = width * width;
  const std::int64_t run = std::clamp<std::int64_t>(
      std::min<std::int64_t>(kRunBytes / (block_size * static_cast<std::int64_t>(sizeof(T))), panels / kMinGroups), 1,
      16);
  // Task t is the block (i, j), i ≤ j, of groups of panels; each has its own sums; they are added in order.
  std::int64_t group = run;
  const auto groups_of = [&] { return ceil_div(panels, group); };
  while (triangle_size(groups_of()) * replicates_padded * 8 > kPartialBytes && groups_of() > 1) group += run;
  const std::int64_t groups = groups_of(), tasks = triangle_size(groups);
  std::vector<double> sums(static_cast<std::size_t>(tasks * replicates_padded));
  parallel_for(tasks, threads, options, [&](std::int64_t t) {
    const auto [row, col] = triangle_tile(t, groups);
    double* own = sums.data() + t * replicates_padded;
    AlignedBuffer<T> blocks(run * block_size);
    const std::int64_t p_end = std::min(panels, (row + 1) * group), q_end = std::min(panels, (col + 1) * group);
    for (std::int64_t q = col * group; q < q_end; ++q)
      for (std::int64_t p = row * group; p < p_end && p <= q; p += run) {
        const std::int64_t stop = std::min({p + run, p_end, q + 1});
        // a block off the diagonal counts twice, for its mirror image
        for (std::int64_t i = p; i < stop; ++i)
          block(packed.view(), i, q, i == q ? T(1) : T(2), blocks.data() + (i - p) * block_size);
        for (std::int64_t s = 0; s < packed_weights.tiles(); ++s)
          kernels.weighted_sums(blocks.data(), (stop - p) * width, packed_weights.by_probe(s, p * width),
                                packed_weights.by_replicate(s, q * width), padded, own + s * tile);
      }
  });
  for (std::int64_t r = 0; r < replicates; ++r) {
    double total = 0;
    for (std::int64_t t = 0; t < tasks; ++t) total += sums[static_cast<std::size_t>(t * replicates_padded + r)];
    distances[r] = total / packed_weights.sum(r) / packed_weights.sum(r);
  }
}

}  // namespace

void correlation_distance_weighted_cpu(const MatrixView& a, const MatrixView& b, const double* weights,
                                       std::int64_t replicates, Metric metric, double sigma, const CpuOptions& options,
                                       double* distances) {
  const bool wide = needs_float64(a, metric, sigma) || needs_float64(b, metric, sigma);
  (wide ? weighted<double> : weighted<float>)(a, b, weights, replicates, metric, sigma, options, distances);
}

void correlation_distance_weighted_backward_cpu(const MatrixView& a, const MatrixView& b, const double* weights,
                                                std::int64_t replicates, Metric metric, double sigma,
                                                const double* factors, const CpuOptions& options, double* grad_a,
                                                double* grad_b) {
  correlation_gradient(a, b, metric, sigma, {1.0, weights, factors, replicates}, options, grad_a, grad_b);
}

}  // namespace sac
