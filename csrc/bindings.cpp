// The module and the CPU kernels. Only the files named bindings include pybind11.
#include "bindings.h"

#include <vector>

#include "sac/correlation_distance.h"
#include "sac/correlation_distance_weighted.h"
#include "sac/correlation_distances.h"
#include "sac/correlation_vector.h"
#include "sac/detail/triangle.h"
#include "sac/nearest_models.h"
#include "sac/pairwise_correlation_distances.h"

namespace {

using namespace sac_bindings;

struct NamedSet {
  const char* name;
  sac::InstructionSet set;
};
constexpr NamedSet kSets[] = {{"avx512", sac::InstructionSet::avx512},
                              {"avx2", sac::InstructionSet::avx2},
                              {"portable", sac::InstructionSet::portable}};

std::vector<std::string> instruction_sets() {
  std::vector<std::string> names;
  for (const auto& known : kSets)
    if (sac::has_instruction_set(known.set)) names.emplace_back(known.name);
  return names;
}

sac::InstructionSet instruction_set_of(const std::string& name) {
  for (const auto& known : kSets)
    if (name == known.name && sac::has_instruction_set(known.set)) return known.set;
  std::string there;
  for (const auto& set : instruction_sets()) there += (there.empty() ? "" : ", ") + set;
  throw std::invalid_argument("instruction_set must be one of " + there + " on this processor, got " + name);
}

double correlation_distance_cpu(const View& a, const View& b, const std::string& metric, double sigma, int threads,
                                const std::string& instruction_set) {
  const auto options = cpu_options(threads, instruction_set);
  const auto view_a = view_of(a), view_b = view_of(b);
  const auto kind = metric_of(metric);
  return without_gil([&] { return sac::correlation_distance_cpu(view_a, view_b, kind, sigma, options); });
}

void correlation_distance_weighted_cpu(const View& a, const View& b, std::uintptr_t weights, std::int64_t replicates,
                                       const std::string& metric, double sigma, int threads,
                                       const std::string& instruction_set, std::uintptr_t distances) {
  const auto options = cpu_options(threads, instruction_set);
  const auto view_a = view_of(a), view_b = view_of(b);
  const auto kind = metric_of(metric);
  without_gil([&] {
    sac::correlation_distance_weighted_cpu(view_a, view_b, reinterpret_cast<const double*>(weights), replicates, kind,
                                           sigma, options, reinterpret_cast<double*>(distances));
  });
}

// Either gradient may be asked for or not, as the null pointer.
void correlation_distance_backward_cpu(const View& a, const View& b, const std::string& metric, double sigma,
                                       double factor, int threads, const std::string& instruction_set,
                                       std::uintptr_t grad_a, std::uintptr_t grad_b) {
  const auto options = cpu_options(threads, instruction_set);
  const auto view_a = view_of(a), view_b = view_of(b);
  const auto kind = metric_of(metric);
  without_gil([&] {
    sac::correlation_distance_backward_cpu(view_a, view_b, kind, sigma, factor, options,
                                           reinterpret_cast<double*>(grad_a), reinterpret_cast<double*>(grad_b));
  });
}

void correlation_distance_weighted_backward_cpu(const View& a, const View& b, std::uintptr_t weights,
                                                std::int64_t replicates, const std::string& metric, double sigma,
                                                std::uintptr_t factors, int threads, const std::string& instruction_set,
                                                std::uintptr_t grad_a, std::uintptr_t grad_b) {
  const auto options = cpu_options(threads, instruction_set);
  const auto view_a = view_of(a), view_b = view_of(b);
  const auto kind = metric_of(metric);
  without_gil([&] {
    sac::correlation_distance_weighted_backward_cpu(view_a, view_b, reinterpret_cast<const double*>(weights),
                                                    replicates, kind, sigma, reinterpret_cast<const double*>(factors),
                                                    options, reinterpret_cast<double*>(grad_a),
                                                    reinterpret_cast<double*>(grad_b));
  });
}

void correlation_distances_cpu(const View& source, const std::vector<View>& suspects, const std::string& metric,
                               double sigma, int threads, const std::string& instruction_set,
                               std::uintptr_t distances) {
  const auto options = cpu_options(threads, instruction_set);
  const auto view = view_of(source);
  const auto views = views_of(suspects);
  const auto kind = metric_of(metric);
  without_gil(
      [&] { sac::correlation_distances_cpu(view, views, kind, sigma, options, reinterpret_cast<double*>(distances)); });
}

void pairwise_correlation_distances_cpu(const std::vector<View>& models, const std::string& metric, double sigma,
                                        bool wide, int threads, const std::string& instruction_set,
                                        std::uintptr_t distances) {
  const auto options = cpu_options(threads, instruction_set);
  const auto views = views_of(models);
  const auto kind = metric_of(metric);
  without_gil([&] {
    sac::pairwise_correlation_distances_cpu(views, kind, sigma, wide, options, reinterpret_cast<void*>(distances));
  });
}

void correlation_vector_cpu(const View& outputs, const std::string& metric, double sigma, bool wide, int threads,
                            const std::string& instruction_set, std::uintptr_t vector) {
  const auto options = cpu_options(threads, instruction_set);
  const auto view = view_of(outputs);
  const auto kind = metric_of(metric);
  without_gil([&] { sac::correlation_vector_cpu(view, kind, sigma, wide, options, reinterpret_cast<void*>(vector)); });
}

void nearest_models_cpu(const std::vector<View>& models, const std::vector<View>& queries, const std::string& metric,
                        double sigma, std::int64_t top, std::int64_t candidates, int threads,
                        const std::string& instruction_set, std::uintptr_t distances, std::uintptr_t indices) {
  const sac::NearestOptions options{top, candidates, cpu_options(threads, instruction_set)};
  const auto views = views_of(models), asked = views_of(queries);
  const auto kind = metric_of(metric);
  without_gil([&] {
    sac::nearest_models_cpu(views, asked.empty() ? nullptr : &asked, kind, sigma, options,
                            reinterpret_cast<double*>(distances), reinterpret_cast<std::int64_t*>(indices));
  });
}

void nearest_vectors_cpu(std::uintptr_t vectors, std::int64_t models, std::uintptr_t queries, std::int64_t asked,
                         const std::string& dtype, std::int64_t probes, std::int64_t top, std::int64_t candidates,
                         int threads, const std::string& instruction_set, std::uintptr_t distances,
                         std::uintptr_t indices) {
  const sac::NearestOptions options{top, candidates, cpu_options(threads, instruction_set)};
  const sac::VectorBatch left{reinterpret_cast<const void*>(vectors), form_of(dtype), models, probes};
  const sac::VectorBatch right{reinterpret_cast<const void*>(queries), form_of(dtype), asked, probes};
  without_gil([&] {
    sac::nearest_models_cpu(left, asked ? &right : nullptr, options, reinterpret_cast<double*>(distances),
                            reinterpret_cast<std::int64_t*>(indices));
  });
}

void candidate_distances_cpu(const std::vector<View>& models, const std::vector<View>& queries,
                             const std::string& metric, double sigma, std::uintptr_t offsets, std::uintptr_t candidates,
                             int threads, const std::string& instruction_set, std::uintptr_t distances) {
  const auto options = cpu_options(threads, instruction_set);
  const auto views = views_of(models), asked = views_of(queries);
  const auto kind = metric_of(metric);
  without_gil([&] {
    sac::candidate_distances_cpu(
        views, asked.empty() ? nullptr : &asked, kind, sigma, reinterpret_cast<const std::int64_t*>(offsets),
        reinterpret_cast<const std::int64_t*>(candidates), options, reinterpret_cast<double*>(distances));
  });
}

void jpeg_roundtrip_cpu(std::uintptr_t images, std::uintptr_t out, std::int64_t count, int height, int width,
                        int channels, std::uintptr_t quality, int quality_step, const std::string& subsampling,
                        int threads, const std::string& instruction_set) {
  const auto batch = jpeg_batch_of(images, out, count, height, width, channels, quality, quality_step, subsampling);
  const auto options = cpu_options(threads, instruction_set);
  without_gil([&] { sac::jpeg_roundtrip_cpu(batch, options); });
}

// Architectures that the CUDA kernels were compiled for, as CMake names them; empty without CUDA.
#ifdef SAC_CUDA_ARCHITECTURES
constexpr const char* kCudaArchitectures = SAC_CUDA_ARCHITECTURES;
#else
constexpr const char* kCudaArchitectures = "";
#endif

}  // namespace

sac::CpuOptions sac_bindings::cpu_options(int threads, const std::string& instruction_set) {
  sac::CpuOptions options;
  options.threads = threads;
  options.instruction_set = instruction_set_of(instruction_set);
  options.cancelled = [] {
    py::gil_scoped_acquire gil;
    return PyErr_CheckSignals() != 0;  // leaves the exception (KeyboardInterrupt) set
  };
  return options;
}

PYBIND11_MODULE(_C, m) {
  m.doc() = "Kernels of sac_fast. Call them through sac_fast.ops, which checks the arguments.";
  m.attr("version") = SAC_FAST_VERSION;
  m.attr("cuda_architectures") = kCudaArchitectures;
  m.def(
      "triangle_tile",
      [](std::int64_t number, std::int64_t tiles) {
        const sac::TriangleTile tile = sac::triangle_tile(number, tiles);
        return py::make_tuple(tile.row, tile.col);
      },
      py::arg("number"), py::arg("tiles"), "Row and column of a tile of the symmetric schedule.");
#ifdef SAC_CUDA_ARCHITECTURES
  sac_bindings::define_cuda(m);
#endif
  m.def("instruction_sets", &instruction_sets, "Instruction sets usable here, best first.");
  m.def("correlation_distance_cpu", &correlation_distance_cpu, py::arg("a"), py::arg("b"), py::arg("metric"),
        py::arg("sigma"), py::arg("threads"), py::arg("instruction_set"),
        "mean |C^a - C^b|; see csrc/include/sac/correlation_distance.h");
  m.def("correlation_distance_weighted_cpu", &correlation_distance_weighted_cpu, py::arg("a"), py::arg("b"),
        py::arg("weights"), py::arg("replicates"), py::arg("metric"), py::arg("sigma"), py::arg("threads"),
        py::arg("instruction_set"), py::arg("distances"),
        "float64 distances for each row of weights; see csrc/include/sac/correlation_distance_weighted.h");
  m.def("correlation_distance_backward_cpu", &correlation_distance_backward_cpu, py::arg("a"), py::arg("b"),
        py::arg("metric"), py::arg("sigma"), py::arg("factor"), py::arg("threads"), py::arg("instruction_set"),
        py::arg("grad_a"), py::arg("grad_b"), "float64 gradients; see csrc/include/sac/correlation_distance.h");
  m.def("correlation_distance_weighted_backward_cpu", &correlation_distance_weighted_backward_cpu, py::arg("a"),
        py::arg("b"), py::arg("weights"), py::arg("replicates"), py::arg("metric"), py::arg("sigma"),
        py::arg("factors"), py::arg("threads"), py::arg("instruction_set"), py::arg("grad_a"), py::arg("grad_b"),
        "float64 gradients; see csrc/include/sac/correlation_distance_weighted.h");
  m.def("correlation_distances_cpu", &correlation_distances_cpu, py::arg("source"), py::arg("suspects"),
        py::arg("metric"), py::arg("sigma"), py::arg("threads"), py::arg("instruction_set"), py::arg("distances"),
        "float64 distances of one source to each suspect; see csrc/include/sac/correlation_distances.h");
  m.def("pairwise_correlation_distances_cpu", &pairwise_correlation_distances_cpu, py::arg("models"), py::arg("metric"),
        py::arg("sigma"), py::arg("wide"), py::arg("threads"), py::arg("instruction_set"), py::arg("distances"),
        "m x m distances; see csrc/include/sac/pairwise_correlation_distances.h");
  m.def("correlation_vector_cpu", &correlation_vector_cpu, py::arg("outputs"), py::arg("metric"), py::arg("sigma"),
        py::arg("wide"), py::arg("threads"), py::arg("instruction_set"), py::arg("vector"),
        "Entries of C above the diagonal; see csrc/include/sac/correlation_vector.h");
  m.def("nearest_models_cpu", &nearest_models_cpu, py::arg("models"), py::arg("queries"), py::arg("metric"),
        py::arg("sigma"), py::arg("top"), py::arg("candidates"), py::arg("threads"), py::arg("instruction_set"),
        py::arg("distances"), py::arg("indices"),
        "Nearest models by their outputs; see csrc/include/sac/nearest_models.h");
  m.def("nearest_vectors_cpu", &nearest_vectors_cpu, py::arg("vectors"), py::arg("models"), py::arg("queries"),
        py::arg("asked"), py::arg("dtype"), py::arg("probes"), py::arg("top"), py::arg("candidates"),
        py::arg("threads"), py::arg("instruction_set"), py::arg("distances"), py::arg("indices"),
        "Nearest models by their correlation vectors; see csrc/include/sac/nearest_models.h");
  m.def("candidate_distances_cpu", &candidate_distances_cpu, py::arg("models"), py::arg("queries"), py::arg("metric"),
        py::arg("sigma"), py::arg("offsets"), py::arg("candidates"), py::arg("threads"), py::arg("instruction_set"),
        py::arg("distances"), "Distances of queries to their candidates; see csrc/include/sac/nearest_models.h");
  sac_bindings::define_bytes(m);
  m.def("jpeg_roundtrip_cpu", &jpeg_roundtrip_cpu, py::arg("images"), py::arg("out"), py::arg("count"),
        py::arg("height"), py::arg("width"), py::arg("channels"), py::arg("quality"), py::arg("quality_step"),
        py::arg("subsampling"), py::arg("threads"), py::arg("instruction_set"),
        "Pixels after JPEG; see csrc/include/sac/jpeg_roundtrip.h");
}
