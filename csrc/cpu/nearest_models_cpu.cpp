#include <algorithm>
#include <cmath>
#include <memory>
#include <type_traits>

#include "cpu/detail/candidate_distances.h"
#include "cpu/detail/parallel.h"
#include "cpu/detail/quantise.h"
#include "cpu/detail/top_k.h"
#include "cpu/detail/vector_source.h"
#include "sac/byte_vectors.h"
#include "sac/nearest_models.h"

namespace sac {
namespace {

constexpr std::int64_t kBlockBytes = 256 << 20;  // rows of one block of models
constexpr std::int64_t kMaxBlockModels = 2048;
constexpr std::int64_t kGroupModels = 32;  // models along one side of a task

// Vectors quantised to steps of 1/127.5: 1/4 of the memory and of the bandwidth.
template <typename T>
class QuantisedVectors : public VectorSource<std::uint8_t> {
 public:
  QuantisedVectors(const VectorSource<T>& exact, const CpuOptions& options)
      : VectorSource<std::uint8_t>(exact.models(), exact.entries()), data_(models() * stride()) {
    parallel_for(models(), options.threads, options, [&](std::int64_t i) {
      AlignedBuffer<T> row(exact.stride());
      exact.load(i, row.data());
      for (std::int64_t e = 0; e < entries(); ++e)
        if (!std::isfinite(row.data()[e])) throw not_finite_vector();
      std::uint8_t* bytes = data_.data() + i * stride();
      quantise(row.data(), entries(), bytes);
      std::fill(bytes + entries(), bytes + stride(), std::uint8_t{0});
    });
  }
  const std::uint8_t* row_in_place(std::int64_t i) const override { return data_.data() + i * stride(); }

 private:
  void fill(std::int64_t i, std::uint8_t* row) const override {
    std::memcpy(row, data_.data() + i * stride(), static_cast<std::size_t>(entries()));
  }
  AlignedBuffer<std::uint8_t> data_;
};

class SourceOfBytes : public ByteSource {
 public:
  explicit SourceOfBytes(const VectorSource<std::uint8_t>& source) : source_(source) {}
  std::int64_t models() const override { return source_.models(); }
  std::int64_t bytes() const override { return source_.stride(); }
  bool in_place() const override { return source_.row_in_place(0) != nullptr; }
  const std::uint8_t* row(std::int64_t i, std::uint8_t* scratch) const override {
    if (const std::uint8_t* found = source_.row_in_place(i)) return found;
    source_.load(i, scratch);
    return scratch;
  }

 private:
  const VectorSource<std::uint8_t>& source_;
};

template <typename T>
AllPairs<T> all_pairs_of(InstructionSet set) {
  if constexpr (sizeof(T) == 1)
    return kernels_for(set).all_pairs_u8;
  else
    return kernels_of<T>(set).all_pairs;
}

// A block of rows in memory, padded to whole tiles with zero rows.
template <typename T>
class RowBlock {
 public:
  RowBlock(const VectorSource<T>& source, std::int64_t size) : source_(source), rows_(size * source.stride()) {}

  void load(std::int64_t first, std::int64_t last, const CpuOptions& options) {
    first_ = first;
    count_ = last - first;
    padded_ = round_up(count_, kModelTile);
    parallel_for(padded_, options.threads, options, [&](std::int64_t i) {
      T* row = rows_.data() + i * source_.stride();
      if (i < count_)
        source_.load(first_ + i, row);
      else
        std::fill(row, row + source_.stride(), T(0));
    });
  }

  std::int64_t first() const { return first_; }
  std::int64_t count() const { return count_; }
  std::int64_t padded() const { return padded_; }
  const T* row(std::int64_t i) const { return rows_.data() + i * source_.stride(); }

 private:
  const VectorSource<T>& source_;
  AlignedBuffer<T> rows_;
  std::int64_t first_ = 0, count_ = 0, padded_ = 0;
};

// sums = L1 distances of all rows of x to all rows of y, (x.padded() × y.padded()); the upper half if they are the
// same.
template <typename T>
void block_distances(const RowBlock<T>& x, const RowBlock<T>& y, std::int64_t stride, bool same,
                     const CpuOptions& options, std::vector<double>& sums) {
  const auto all_pairs = all_pairs_of<T>(options.instruction_set);
  std::fill(sums.begin(), sums.end(), 0.0);
  const std::int64_t across = ceil_div(x.padded(), kGroupModels);
  const std::int64_t down = ceil_div(y.padded(), kGroupModels);
  parallel_for(across * down, options.threads, options, [&](std::int64_t t) {
    const std::int64_t i = t / down * kGroupModels, j = t % down * kGroupModels;
    if (same && j < i) return;
    all_pairs(x.row(i), std::min(kGroupModels, x.padded() - i), y.row(j), std::min(kGroupModels, y.padded() - j),
              stride, stride, same && i == j, sums.data() + i * y.padded() + j, y.padded());
  });
}

void sweep_bytes(const VectorSource<std::uint8_t>& models, const VectorSource<std::uint8_t>* queries, double scale,
                 const CpuOptions& options, TopK& best) {
  const SourceOfBytes right(models), left(queries ? *queries : models);
  std::vector<std::uint64_t> keys(static_cast<std::size_t>(left.models() * best.top()));
  const ByteSources all{&right}, asked{&left};
  nearest_bytes_cpu(all, queries ? &asked : nullptr, -1, best.top(), options, keys.data());
  for (std::int64_t q = 0; q < left.models(); ++q)
    for (std::int64_t r = 0; r < best.top(); ++r) {
      const std::uint64_t key = keys[static_cast<std::size_t>(q * best.top() + r)];
      best.insert(q, static_cast<std::int64_t>(key & 0xffffffffu), scale * static_cast<double>(key >> 32));
    }
}

// All queries against all models, a block of each at a time. Without queries each pair of models is computed once.
template <typename T>
void sweep(const VectorSource<T>& models, const VectorSource<T>* queries, double scale, const CpuOptions& options,
           TopK& best) {
  if constexpr (std::is_same_v<T, std::uint8_t>)
    if (models.stride() <= kMaxByteEntries) return sweep_bytes(models, queries, scale, options, best);
  const VectorSource<T>& left = queries ? *queries : models;
  const std::int64_t row_bytes = models.stride() * static_cast<std::int64_t>(sizeof(T));
  const std::int64_t size = std::clamp(kBlockBytes / row_bytes / kModelTile * kModelTile, kModelTile, kMaxBlockModels);
  RowBlock<T> x(left, std::min(size, left.models() + kModelTile)),
      y(models, std::min(size, models.models() + kModelTile));
  std::vector<double> sums;
  for (std::int64_t i = 0; i < left.models(); i += size) {
    x.load(i, std::min(left.models(), i + size), options);
    for (std::int64_t j = queries ? 0 : i; j < models.models(); j += size) {
      const bool same = !queries && i == j;
      if (!same) y.load(j, std::min(models.models(), j + size), options);
      const RowBlock<T>& other = same ? x : y;
      sums.resize(static_cast<std::size_t>(x.padded() * other.padded()));
      block_distances(x, other, models.stride(), same, options, sums);
      const auto distance = [&](std::int64_t r, std::int64_t c) {
        return scale * sums[static_cast<std::size_t>(same && c < r ? c * other.padded() + r : r * other.padded() + c)];
      };
      parallel_for(x.count(), options.threads, options, [&](std::int64_t r) {
        for (std::int64_t c = 0; c < other.count(); ++c)
          if (!(same && r == c)) best.insert(i + r, j + c, distance(r, c));
      });
      if (!queries && !same)
        // a run of columns at a time, since the sums are stored row by row
        parallel_for(ceil_div(other.count(), kGroupModels), options.threads, options, [&](std::int64_t g) {
          const std::int64_t last = std::min(other.count(), (g + 1) * kGroupModels);
          for (std::int64_t r = 0; r < x.count(); ++r)
            for (std::int64_t c = g * kGroupModels; c < last; ++c) best.insert(j + c, i + r, distance(r, c));
        });
    }
  }
}

// Numbers added in float32 before they join a float64 sum.
constexpr std::int64_t kExactRun = 1024;

// Ranks the candidates of each query by their exact distances.
template <typename T>
void rank_candidates(const VectorSource<T>& models, const VectorSource<T>* queries, double scale,
                     const std::int64_t* candidates, std::int64_t each, const CpuOptions& options, TopK& best) {
  const VectorSource<T>& left = queries ? *queries : models;
  const KernelsOf<T>& kernels = kernels_of<T>(options.instruction_set);
  const std::int64_t padded = round_up(models.stride(), 128 / static_cast<std::int64_t>(sizeof(T)));
  parallel_for(left.models(), options.threads, options, [&](std::int64_t q) {
    AlignedBuffer<T> x(padded), y(padded);
    std::fill(x.data() + models.stride(), x.data() + padded, T(0));
    std::fill(y.data() + models.stride(), y.data() + padded, T(0));
    left.load(q, x.data());
    for (std::int64_t c = 0; c < each; ++c) {
      const std::int64_t model = candidates[q * each + c];
      models.load(model, y.data());
      double sum = 0;
      for (std::int64_t e = 0; e < padded; e += kExactRun)
        sum += kernels.abs_difference(x.data() + e, y.data() + e, std::min(kExactRun, padded - e));
      best.insert(q, model, scale * sum);
    }
  });
}

// The nearest of each query by a sweep over bytes: (queries, each).
template <typename T>
std::vector<std::int64_t> find_candidates(const VectorSource<T>& models, const VectorSource<T>* queries,
                                          std::int64_t each, const CpuOptions& options) {
  const std::int64_t count = queries ? queries->models() : models.models();
  std::vector<double> approximate(static_cast<std::size_t>(count * each));
  std::vector<std::int64_t> candidates(static_cast<std::size_t>(count * each));
  TopK first_pass(count, each, approximate.data(), candidates.data());
  const QuantisedVectors<T> models_u8(models, options);
  if (queries) {
    const QuantisedVectors<T> queries_u8(*queries, options);
    sweep<std::uint8_t>(models_u8, &queries_u8, 1.0, options, first_pass);
  } else {
    sweep<std::uint8_t>(models_u8, nullptr, 1.0, options, first_pass);
  }
  return candidates;
}

std::int64_t candidates_of(const NearestOptions& options, std::int64_t models, bool with_queries) {
  return std::min(std::max(options.candidates, options.top), models - (with_queries ? 0 : 1));
}

template <typename T>
void nearest(const VectorSource<T>& models, const VectorSource<T>* queries, std::int64_t n,
             const NearestOptions& options, double* distances, std::int64_t* indices) {
  const double scale = 2.0 / static_cast<double>(n) / static_cast<double>(n);
  TopK best(queries ? queries->models() : models.models(), options.top, distances, indices);
  if constexpr (sizeof(T) == 1) {
    sweep(models, queries, scale, options.cpu, best);  // bytes are ranked as they are
  } else if (options.candidates == 0) {
    sweep(models, queries, scale, options.cpu, best);
  } else {
    const std::int64_t each = candidates_of(options, models.models(), queries);
    const auto candidates = find_candidates(models, queries, each, options.cpu);
    rank_candidates(models, queries, scale, candidates.data(), each, options.cpu, best);
  }
  best.check();
}

template <typename T>
void nearest_of_outputs(const std::vector<MatrixView>& models, const std::vector<MatrixView>* queries, Metric metric,
                        double sigma, const NearestOptions& options, double* distances, std::int64_t* indices) {
  const OutputVectors<T> vectors(models, "models", metric, sigma, options.cpu);
  std::unique_ptr<OutputVectors<T>> query_vectors;
  if (queries) query_vectors = std::make_unique<OutputVectors<T>>(*queries, "queries", metric, sigma, options.cpu);
  if (options.candidates == 0)
    return nearest<T>(vectors, query_vectors.get(), models[0].rows, options, distances, indices);
  const std::int64_t each = candidates_of(options, vectors.models(), queries);
  const auto candidates = find_candidates<T>(vectors, query_vectors.get(), each, options.cpu);
  const std::int64_t count = queries ? query_vectors->models() : vectors.models();
  std::vector<std::int64_t> offsets(static_cast<std::size_t>(count + 1));
  for (std::int64_t q = 0; q <= count; ++q) offsets[q] = q * each;
  std::vector<double> exact(candidates.size());
  candidate_distances<T>(vectors.packed(), (queries ? *query_vectors : vectors).packed(), metric, models[0].rows,
                         offsets.data(), candidates.data(), options.cpu, exact.data());
  TopK best(count, options.top, distances, indices);
  for (std::int64_t q = 0; q < count; ++q)
    for (std::int64_t c = offsets[q]; c < offsets[q + 1]; ++c) best.insert(q, candidates[c], exact[c]);
}

template <typename T, typename Stored>
void nearest_of_vectors(const VectorBatch& models, const VectorBatch* queries, const NearestOptions& options,
                        double* distances, std::int64_t* indices) {
  const StoredVectors<T, Stored> vectors(models);
  std::unique_ptr<StoredVectors<T, Stored>> query_vectors;
  if (queries) query_vectors = std::make_unique<StoredVectors<T, Stored>>(*queries);
  nearest<T>(vectors, query_vectors.get(), models.n, options, distances, indices);
}

}  // namespace

void nearest_models_cpu(const std::vector<MatrixView>& models, const std::vector<MatrixView>* queries, Metric metric,
                        double sigma, const NearestOptions& options, double* distances, std::int64_t* indices) {
  const bool wide = any_needs_float64(models, queries, metric, sigma);
  (wide ? nearest_of_outputs<double> : nearest_of_outputs<float>)(models, queries, metric, sigma, options, distances,
                                                                  indices);
}

void nearest_models_cpu(const VectorBatch& models, const VectorBatch* queries, const NearestOptions& options,
                        double* distances, std::int64_t* indices) {
  switch (models.form) {
    case VectorForm::float32: return nearest_of_vectors<float, float>(models, queries, options, distances, indices);
    case VectorForm::float16: return nearest_of_vectors<float, Float16>(models, queries, options, distances, indices);
    case VectorForm::uint8: {
      nearest_of_vectors<std::uint8_t, std::uint8_t>(models, queries, options, distances, indices);
      const std::int64_t numbers = (queries ? queries->models : models.models) * options.top;
      for (std::int64_t i = 0; i < numbers; ++i) distances[i] /= 127.5;
      return;
    }
    case VectorForm::float64: throw std::invalid_argument("form must be uint8, float16 or float32, got float64");
  }
}

}  // namespace sac
