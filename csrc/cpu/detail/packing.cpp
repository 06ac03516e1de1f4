#include "cpu/detail/packing.h"

#include "cpu/detail/parallel.h"

namespace sac {

template <typename T>
std::vector<std::unique_ptr<PackedModel<T>>> pack_models(const std::vector<MatrixView>& models, std::int64_t first,
                                                         std::int64_t last, const std::string& name, Metric metric,
                                                         double sigma, int threads, const CpuOptions& options) {
  const KernelsOf<T>& kernels = kernels_of<T>(options.instruction_set);
  std::vector<std::unique_ptr<PackedModel<T>>> packed;
  for (std::int64_t i = first; i < last; ++i)
    packed.push_back(std::make_unique<PackedModel<T>>(models[static_cast<std::size_t>(i)], metric, sigma, kernels));
  std::vector<std::int64_t> bad(packed.size());
  parallel_for(last - first, threads, options, [&](std::int64_t i) { bad[i] = packed[i]->pack_all(); });
  for (std::size_t i = 0; i < bad.size(); ++i)
    if (bad[i] >= 0) throw not_finite(name + "[" + std::to_string(first + static_cast<std::int64_t>(i)) + "]", bad[i]);
  return packed;
}

template std::vector<std::unique_ptr<PackedModel<float>>> pack_models(const std::vector<MatrixView>&, std::int64_t,
                                                                      std::int64_t, const std::string&, Metric, double,
                                                                      int, const CpuOptions&);
template std::vector<std::unique_ptr<PackedModel<double>>> pack_models(const std::vector<MatrixView>&, std::int64_t,
                                                                       std::int64_t, const std::string&, Metric, double,
                                                                       int, const CpuOptions&);

}  // namespace sac
