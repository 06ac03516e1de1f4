// Vectors of outputs as bytes, in a given order of their entries.
#include <algorithm>
#include <cstring>

#include "cpu/detail/parallel.h"
#include "cpu/detail/quantise.h"
#include "cpu/detail/vector_source.h"
#include "sac/byte_vectors.h"

namespace sac {
namespace {

constexpr std::int64_t kPackedModels = 1024;  // whose normalised rows are in memory at a time

template <typename T>
void pack(const std::vector<MatrixView>& models, std::int64_t first, std::int64_t last, Metric metric, double sigma,
          const BytePlaces& places, const CpuOptions& options) {
  const OutputVectors<T> vectors(models, first, last, "models", metric, sigma, options);
  parallel_for(last - first, options.threads, options, [&](std::int64_t i) {
    AlignedBuffer<T> row(vectors.stride());
    AlignedBuffer<std::uint8_t> bytes(vectors.stride());
    vectors.load(i, row.data());
    quantise(row.data(), places.entries, bytes.data());
    const auto gather = [&](std::int64_t from, std::int64_t count, std::uint8_t* out, std::int64_t stride) {
      for (std::int64_t p = 0; p < count; ++p) out[p] = bytes.data()[places.order[from + p]];
      std::memset(out + count, 0, static_cast<std::size_t>(stride - count));
    };
    const std::int64_t in_head = std::min(places.entries, places.head_bytes);
    gather(0, in_head, places.head + (first + i) * places.head_stride, places.head_stride);
    if (in_head < places.entries)
      gather(in_head, places.entries - in_head, places.tail + (first + i) * places.tail_stride, places.tail_stride);
  });
}

}  // namespace

void pack_bytes_cpu(const std::vector<MatrixView>& models, Metric metric, double sigma, const BytePlaces& places,
                    const CpuOptions& options) {
  bool wide = false;
  for (const auto& model : models) wide = wide || needs_float64(model, metric, sigma);
  const auto count = static_cast<std::int64_t>(models.size());
  for (std::int64_t first = 0; first < count; first += kPackedModels)
    (wide ? pack<double> : pack<float>)(models, first, std::min(count, first + kPackedModels), metric, sigma, places,
                                        options);
}

}  // namespace sac
