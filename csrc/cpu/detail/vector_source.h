// Rows that a sweep over many models reads: one row a model, whose L1 distances are n²/2 times the models'.
#pragma once

#include <cstring>
#include <memory>
#include <vector>

#include "cpu/detail/packing.h"
#include "sac/detail/half.h"
#include "sac/nearest_models.h"

namespace sac {

template <typename T>
class VectorSource {
 public:
  VectorSource(std::int64_t models, std::int64_t entries)
      : models_(models), entries_(entries), stride_(round_up(entries, kLine)) {}
  virtual ~VectorSource() = default;

  std::int64_t models() const { return models_; }
  std::int64_t entries() const { return entries_; }
  std::int64_t stride() const { return stride_; }  // entries, rounded up to whole cache lines
  // Writes row i, stride() numbers, zeros at the end. Called from several threads.
  void load(std::int64_t i, T* row) const {
    fill(i, row);
    for (std::int64_t e = entries_; e < stride_; ++e) row[e] = T(0);
  }
  // Row i as `load` gives it, where the source holds it so; else null.
  virtual const T* row_in_place(std::int64_t) const { return nullptr; }

 private:
  virtual void fill(std::int64_t i, T* row) const = 0;
  static constexpr std::int64_t kLine = 64 / sizeof(T);
  std::int64_t models_, entries_, stride_;
};

// Stored vectors, widened.
template <typename T, typename Stored>
class StoredVectors : public VectorSource<T> {
 public:
  explicit StoredVectors(const VectorBatch& vectors)
      : VectorSource<T>(vectors.models, vectors.n * (vectors.n - 1) / 2),
        data_(static_cast<const Stored*>(vectors.data)) {}

 private:
  void fill(std::int64_t i, T* row) const override {
    const Stored* stored = data_ + i * this->entries();
    for (std::int64_t e = 0; e < this->entries(); ++e) row[e] = static_cast<T>(widen(stored[e]));
  }
  const Stored* data_;
};

// Vectors computed from outputs; for dot products the halved diagonal follows, so that zero rows count as they do in
// correlation_distance.
template <typename T>
class OutputVectors : public VectorSource<T> {
 public:
  OutputVectors(const std::vector<MatrixView>& models, const std::string& name, Metric metric, double sigma,
                const CpuOptions& options)
      : OutputVectors(models, 0, static_cast<std::int64_t>(models.size()), name, metric, sigma, options) {}

  // Of models first … last − 1.
  OutputVectors(const std::vector<MatrixView>& models, std::int64_t first, std::int64_t last, const std::string& name,
                Metric metric, double sigma, const CpuOptions& options)
      : VectorSource<T>(last - first,
                        models[0].rows * (models[0].rows - 1) / 2 + (metric == Metric::rbf ? 0 : models[0].rows)),
        kernels_(kernels_of<T>(options.instruction_set)),
        block_values_(metric == Metric::rbf ? kernels_.block_rbf : kernels_.block_dot),
        n_(models[0].rows),
        diagonal_(metric != Metric::rbf),
        packed_(pack_models<T>(models, first, last, name, metric, sigma, options.threads, options)) {}

  const std::vector<std::unique_ptr<PackedModel<T>>>& packed() const { return packed_; }

 private:
  void fill(std::int64_t i, T* row) const override {
    const PackedModel<T>& model = *packed_[static_cast<std::size_t>(i)];
    const std::int64_t width = kernels_.width;
    AlignedBuffer<T> block(width * width);
    for (std::int64_t p = 0; p < model.panels(); ++p)
      for (std::int64_t q = p; q < model.panels(); ++q) {
        block_values_(model.view(), p, q, block.data());
        const std::int64_t rows = std::min(width, n_ - p * width), cols = std::min(width, n_ - q * width);
        for (std::int64_t r = 0; r < rows; ++r) {
          const std::int64_t skip = p == q ? r + 1 : 0;
          std::memcpy(row, block.data() + r * width + skip, static_cast<std::size_t>(cols - skip) * sizeof(T));
          row += cols - skip;
        }
      }
    if (diagonal_)
      for (std::int64_t r = 0; r < n_; ++r) *row++ = model.norm(r) / 2;
  }

  const KernelsOf<T>& kernels_;
  const BlockValues<T> block_values_;
  const std::int64_t n_;
  const bool diagonal_;
  std::vector<std::unique_ptr<PackedModel<T>>> packed_;
};

}  // namespace sac
