// Sample pairs are processed in stages of a few blocks: the correlations of all m models are computed once, then added
// to the L1 distances of all pairs of models. float32's are added as fixed-point numbers.
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

// Rows of numbers, one for each model, and the L1 distances of all pairs of them.
template <typename T>
class StageOf {
 public:
  StageOf(const Kernels& kernels, std::int64_t rows, std::int64_t entries)
      : kernels_(kernels), stride_(round_up(entries, 64 / std::int64_t{sizeof(T)})), values_(rows * stride_) {}

  std::int64_t stride() const { return stride_; }
  void set_row(std::int64_t i, const T* row) { std::copy(row, row + stride_, values_.data() + i * stride_); }

  // sums[r·sums_stride + c] += Σ |row i + r − row j + c|, for nx × ny pairs; of the same rows the upper half
  void add_distances(std::int64_t i, std::int64_t nx, std::int64_t j, std::int64_t ny, double* sums,
                     std::int64_t sums_stride) const {
    kernels_.f64.all_pairs(values_.data() + i * stride_, nx, values_.data() + j * stride_, ny, stride_, stride_, i == j,
                           sums, sums_stride);
  }

 private:
  const Kernels& kernels_;
  const std::int64_t stride_;
  AlignedBuffer<T> values_;
};

// float32 as fixed-point numbers.
template <>
class StageOf<float> {
 public:
  StageOf(const Kernels& kernels, std::int64_t rows, std::int64_t entries)
      : kernels_(kernels),
        stride_(round_up(entries, 64 / std::int64_t{sizeof(float)})),
        values_(rows * stride_),
        totals_(static_cast<std::size_t>(rows)) {}

  std::int64_t stride() const { return stride_; }
  void set_row(std::int64_t i, const float* row) {
    totals_[static_cast<std::size_t>(i)] = kernels_.to_fixed_point(row, stride_, values_.data() + i * stride_);
  }

  void add_distances(std::int64_t i, std::int64_t nx, std::int64_t j, std::int64_t ny, double* sums,
                     std::int64_t sums_stride) const {
    std::int64_t minima[kGroupModels * kGroupModels] = {};
    kernels_.sum_minima(values_.data() + i * stride_, nx, values_.data() + j * stride_, ny, stride_, stride_, i == j,
                        minima, kGroupModels);
    constexpr double step = 1.0 / static_cast<double>(kFixedPointOne);
    for (std::int64_t r = 0; r < nx; ++r)
      for (std::int64_t c = 0; c < ny; ++c) {
        const std::int64_t both = totals_[static_cast<std::size_t>(i + r)] + totals_[static_cast<std::size_t>(j + c)];
        sums[r * sums_stride + c] += step * static_cast<double>(both - 2 * minima[r * kGroupModels + c]);
      }
  }

 private:
  const Kernels& kernels_;
  const std::int64_t stride_;
  AlignedBuffer<std::int32_t> values_;
  std::vector<std::int64_t> totals_;
};

template <typename T>
class Pairwise {
  using Stage = StageOf<T>;

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
    if (entries == 0) return;
    Stage values(kernels_for(options_.instruction_set), padded_, entries);
    parallel_for(padded_, options_.threads, options_, [&](std::int64_t i) {
      AlignedBuffer<T> row(values.stride()), block(kernels_.width * kernels_.width);
      const bool is_model = i < m_;
      std::fill(row.data() + (is_model ? entries : 0), row.data() + values.stride(), T(0));
      for (std::size_t b = 0; is_model && b < stage.size(); ++b) {
        block_values_(packed_[i]->view(), stage[b].p, stage[b].q, block.data());
        pack_block(block.data(), stage[b], row.data() + stage[b].offset);
      }
      values.set_row(i, row.data());
    });
    accumulate(values);
  }

  // Zero rows have C_ii = 0 where all others have 1. Halved, since `write` doubles.
  void add_diagonals() {
    bool any = false;
    for (const auto& model : packed_)
      for (std::int64_t i = 0; i < n_; ++i) any = any || model->norm(i) == T(0);
    if (!any) return;
    Stage values(kernels_for(options_.instruction_set), padded_, n_);
    AlignedBuffer<T> row(values.stride());
    for (std::int64_t i = 0; i < padded_; ++i) {
      std::fill(row.data(), row.data() + values.stride(), T(0));
      for (std::int64_t r = 0; i < m_ && r < n_; ++r) row.data()[r] = packed_[i]->norm(r) / 2;
      values.set_row(i, row.data());
    }
    accumulate(values);
  }

  void accumulate(const Stage& values) {
    const std::int64_t groups = ceil_div(padded_, kGroupModels);
    parallel_for(triangle_size(groups), options_.threads, options_, [&](std::int64_t t) {
      const TriangleTile tile = triangle_tile(t, groups);
      const std::int64_t i = tile.row * kGroupModels, j = tile.col * kGroupModels;
      values.add_distances(i, std::min(kGroupModels, padded_ - i), j, std::min(kGroupModels, padded_ - j),
                           sums_.data() + i * padded_ + j, padded_);
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
