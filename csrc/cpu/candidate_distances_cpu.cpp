#include "cpu/detail/candidate_distances.h"
#include "sac/nearest_models.h"

namespace sac {
namespace {

template <typename T>
void distances_of(const std::vector<MatrixView>& models, const std::vector<MatrixView>* queries, Metric metric,
                  double sigma, const std::int64_t* offsets, const std::int64_t* candidates, const CpuOptions& options,
                  double* distances) {
  const auto pack = [&](const std::vector<MatrixView>& some, const char* name) {
    return pack_models<T>(some, 0, static_cast<std::int64_t>(some.size()), name, metric, sigma, options.threads,
                          options);
  };
  const auto packed = pack(models, "models");
  std::vector<std::unique_ptr<PackedModel<T>>> asked;
  if (queries) asked = pack(*queries, "queries");
  candidate_distances<T>(packed, queries ? asked : packed, metric, models[0].rows, offsets, candidates, options,
                         distances);
}

}  // namespace

bool any_needs_float64(const std::vector<MatrixView>& models, const std::vector<MatrixView>* queries, Metric metric,
                       double sigma) {
  bool wide = false;
  for (const auto& model : models) wide = wide || needs_float64(model, metric, sigma);
  if (queries)
    for (const auto& model : *queries) wide = wide || needs_float64(model, metric, sigma);
  return wide;
}

void candidate_distances_cpu(const std::vector<MatrixView>& models, const std::vector<MatrixView>* queries,
                             Metric metric, double sigma, const std::int64_t* offsets, const std::int64_t* candidates,
                             const CpuOptions& options, double* distances) {
  const bool wide = any_needs_float64(models, queries, metric, sigma);
  (wide ? distances_of<double> : distances_of<float>)(models, queries, metric, sigma, offsets, candidates, options,
                                                      distances);
}

}  // namespace sac
