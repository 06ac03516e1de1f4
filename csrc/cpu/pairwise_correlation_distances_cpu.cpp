// Sample pairs are processed in stages of a few blocks: the correlations of all m models are computed once, then added
// to the L1 distances of all pairs of models.
#include <algorithm>
#include <cstring>
#include <vector>

#include "cpu/detail/packing.h"
#include "cpu/detail/parallel.h"
#include "sac/detail/triangle.h"
#include "sac/pairwise_correlation_distances.h"

namespace sac {
namespace {

constexpr std::int64_t kStageBytes = 16 << 20;    // values of one stage, all models
constexpr std::int64_t kMaxStageEntries = 65536;  // a stage of few models
constexpr std::int64_t kGroupModels = 32;         // models along one side of a task

// A block of sample pairs, and the offset of its entries in a stage.
struct Block {
  std::int64_t p, q, offset;
};

template <typename T>
class Pairwise {
 public:
  Pairwise(const std::vector<MatrixView>& models, Metric metric, double sigma, const CpuOptions& options)
      : kernels_(kernels_of<T>(options.instruction_set)),
        options_(options),
        block_values_(metric == Metric::rbf ? kernels_.block_rbf : kernels_.block_dot),
        n_(models[0].rows),
        m_(static_cast<std::int64_t>(models.size())),
        padded_(round_up(m_, kModelTile)),
        sums_(static_cast<std::size_t>(padded_ * padded_)) {
    packed_ = pack_models<T>(models, 0, m_, "models", metric, sigma, options.threads, options);
    const std::int64_t panels = packed_[0]->panels();
    const std::int64_t wanted =
        std::min(kMaxStageEntries, kStageBytes / (padded_ * static_cast<std::int64_t>(sizeof(T))));
    std::vector<Block> stage;
    std::int64_t entries = 0;
    for (std::int64_t t = 0; t < triangle_size(panels); ++t) {
      const TriangleTile tile = triangle_tile(t, panels);
      const std::int64_t size = entries_of(tile.row, tile.col);
      if (!stage.empty() && entries + size > wanted) {
        run_stage(stage, entries);
        stage.clear();
        entries = 0;
      }
      stage.push_back({tile.row, tile.col, entries});
      entries += size;
    }
    run_stage(stage, entries);
    if (metric != Metric::rbf) add_diagonals();
  }

  // d = (2 Σ_{i<j} + Σ_i) / n²
  template <typename Out>
  void write(Out* distances) const {
    const double scale = 2.0 / static_cast<double>(n_) / static_cast<double>(n_);
    for (std::int64_t i = 0; i < m_; ++i)
      for (std::int64_t j = i; j < m_; ++j)
        distances[i * m_ + j] = distances[j * m_ + i] =
            static_cast<Out>(i == j ? 0.0 : scale * sums_[static_cast<std::size_t>(i * padded_ + j)]);
  }

 private:
  std::int64_t rows_in(std::int64_t panel) const {
    return std::min<std::int64_t>(kernels_.width, n_ - panel * kernels_.width);
  }

  std::int64_t entries_of(std::int64_t p, std::int64_t q) const {
    return p == q ? rows_in(p) * (rows_in(p) - 1) / 2 : rows_in(p) * rows_in(q);
  }

  // The entries of a block that count, i < j, one after another.
  void pack_block(const T* block, const Block& where, T* out) const {
    for (std::int64_t r = 0; r < rows_in(where.p); ++r) {
      const std::int64_t skip = where.p == where.q ? r + 1 : 0, length = rows_in(where.q) - skip;
      std::memcpy(out, block + r * kernels_.width + skip, static_cast<std::size_t>(length) * sizeof(T));
      out += length;
    }
  }

  void run_stage(const std::vector<Block>& stage, std::int64_t entries) {
    const std::int64_t stride = round_up(entries, 64 / static_cast<std::int64_t>(sizeof(T)));
    if (stride == 0) return;
    AlignedBuffer<T> values(padded_ * stride);
    parallel_for(padded_, options_.threads, options_, [&](std::int64_t i) {
      T* row = values.data() + i * stride;
      std::fill(row + (i < m_ ? entries : 0), row + stride, T(0));
      if (i >= m_) return;
      AlignedBuffer<T> block(kernels_.width * kernels_.width);
      for (const Block& where : stage) {
        block_values_(packed_[i]->view(), where.p, where.q, block.data());
        pack_block(block.data(), where, row + where.offset);
      }
    });
    accumulate(values, stride);
  }

  // Zero rows have C_ii = 0 where all others have 1. Halved, since `write` doubles.
  void add_diagonals() {
    bool any = false;
    for (const auto& model : packed_)
      for (std::int64_t i = 0; i < n_; ++i) any = any || model->norm(i) == T(0);
    if (!any) return;
    const std::int64_t stride = round_up(n_, 64 / static_cast<std::int64_t>(sizeof(T)));
    AlignedBuffer<T> values(padded_ * stride);
    std::fill(values.data(), values.data() + padded_ * stride, T(0));
    for (std::int64_t i = 0; i < m_; ++i)
      for (std::int64_t r = 0; r < n_; ++r) values.data()[i * stride + r] = packed_[i]->norm(r) / 2;
    accumulate(values, stride);
  }

  void accumulate(AlignedBuffer<T>& values, std::int64_t stride) {
    const std::int64_t groups = ceil_div(padded_, kGroupModels);
    parallel_for(triangle_size(groups), options_.threads, options_, [&](std::int64_t t) {
      const TriangleTile tile = triangle_tile(t, groups);
      const std::int64_t i = tile.row * kGroupModels, j = tile.col * kGroupModels;
      kernels_.all_pairs(values.data() + i * stride, std::min(kGroupModels, padded_ - i), values.data() + j * stride,
                         std::min(kGroupModels, padded_ - j), stride, stride, i == j, sums_.data() + i * padded_ + j,
                         padded_);
    });
  }

  const KernelsOf<T>& kernels_;
  const CpuOptions& options_;
  const BlockValues<T> block_values_;
  const std::int64_t n_, m_, padded_;
  std::vector<std::unique_ptr<PackedModel<T>>> packed_;
  std::vector<double> sums_;
};

}  // namespace

void pairwise_correlation_distances_cpu(const std::vector<MatrixView>& models, Metric metric, double sigma, bool wide,
                                        const CpuOptions& options, void* distances) {
  bool in_float64 = wide;
  for (const auto& model : models) in_float64 = in_float64 || needs_float64(model, metric, sigma);
  if (wide)
    Pairwise<double>(models, metric, sigma, options).write(static_cast<double*>(distances));
  else if (in_float64)
    Pairwise<double>(models, metric, sigma, options).write(static_cast<float*>(distances));
  else
    Pairwise<float>(models, metric, sigma, options).write(static_cast<float*>(distances));
}

}  // namespace sac
