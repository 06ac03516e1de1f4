// Searches of correlation vectors in steps of 1/127.5, one byte an entry.
//
//   d = (2/n²) Σ_e |x_e − y_e| / 127.5
//
// The rows of all models have the same order of entries, which is secret and random where they come from untrusted
// models: a part of the entries then estimates the whole, and nobody can make a model that is near in this part alone.
// Sums of a part only grow, so a pair whose part is over a limit is over it as a whole.
#pragma once

#include <cstdint>
#include <vector>

#include "sac/detail/cancelled.h"
#include "sac/detail/cpu_options.h"
#include "sac/detail/matrix_view.h"
#include "sac/detail/metric.h"

namespace sac {

// A part of the entries of many models: rows of `bytes`, `stride` apart, all three whole cache lines; padding is zero.
struct ByteRows {
  const std::uint8_t* data;
  std::int64_t rows, stride, bytes;
  const std::uint8_t* row(std::int64_t i) const { return data + i * stride; }
};

// Rows in memory, or such as are copied when they are read.
class ByteSource {
 public:
  virtual ~ByteSource() = default;
  virtual std::int64_t models() const = 0;
  virtual std::int64_t bytes() const = 0;
  // Row i: in place, or copied to `scratch`, which holds bytes().
  virtual const std::uint8_t* row(std::int64_t i, std::uint8_t* scratch) const = 0;
  virtual bool in_place() const = 0;
};
using ByteSources = std::vector<const ByteSource*>;

// A neighbour: its sum above its number, so that the order of keys is by distance, then by number.
inline std::uint64_t byte_key(std::int32_t sum, std::int64_t model) {
  return static_cast<std::uint64_t>(sum) << 32 | static_cast<std::uint64_t>(model);
}

// keys: (queries, top), ascending: the `top` nearest of each query by the sum over all parts. Without queries each model
// is one, and not its own neighbour; query q is the model first_query + q, or none where that is negative. Fewer than
// 2³² models, of at most 2²³ bytes.
void nearest_bytes_cpu(const ByteSources& models, const ByteSources* queries, std::int64_t first_query,
                       std::int64_t top, const CpuOptions& options, std::uint64_t* keys);
void nearest_bytes_cpu(const std::vector<ByteRows>& models, const std::vector<ByteRows>* queries,
                       std::int64_t first_query, std::int64_t top, const CpuOptions& options, std::uint64_t* keys);

// keys: (queries, top), ascending: the nearest of the candidates (queries, each) by the sum over all parts.
void rank_bytes_cpu(const std::vector<ByteRows>& models, const std::vector<ByteRows>& queries,
                    const std::int64_t* candidates, std::int64_t each, std::int64_t top, const CpuOptions& options,
                    std::uint64_t* keys);

struct BytePair {
  std::int64_t query, model, sum;
};

// All pairs of a query in [first, last) and a model whose sum over all parts is ≤ limit, by query, then model. Without
// queries they are models, and each pair is found once, as query < model.
std::vector<BytePair> within_bytes_cpu(const std::vector<ByteRows>& models, const std::vector<ByteRows>* queries,
                                       std::int64_t first, std::int64_t last, std::int64_t limit,
                                       const CpuOptions& options);

// The bytes of models' vectors: entry order[p] of a model's vector at place p of its row, the first `head_bytes` places
// in `head`, the others in `tail`; padding is zeroed. A vector has the n(n−1)/2 correlations above the diagonal of C,
// and but for rbf half of its diagonal. Throws for the first model that is not finite.
struct BytePlaces {
  const std::int32_t* order;
  std::int64_t entries, head_bytes;
  std::uint8_t *head, *tail;
  std::int64_t head_stride, tail_stride;
};
void pack_bytes_cpu(const std::vector<MatrixView>& models, Metric metric, double sigma, const BytePlaces& places,
                    const CpuOptions& options);

}  // namespace sac
