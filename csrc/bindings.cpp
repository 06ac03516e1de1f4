// The only file that includes pybind11. Pointers, sizes and strides come in as integers: no torch here.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <string>
#include <tuple>
#include <vector>

#include "sac/correlation_distance.h"
#include "sac/correlation_distance_cuda.h"
#include "sac/correlation_distance_weighted.h"
#include "sac/correlation_tiles.h"
#include "sac/jpeg_roundtrip.h"
#include "sac/pack_rows.h"
#include "sac/packed_tiles.h"
#include "sac/triangle.h"
#include "sac/zoo.h"
#include "sac/zoo_cuda.h"

namespace py = pybind11;

namespace {

sac::DType dtype_of(const std::string& name) {
  if (name == "float16") return sac::DType::float16;
  if (name == "bfloat16") return sac::DType::bfloat16;
  if (name == "float32") return sac::DType::float32;
  if (name == "float64") return sac::DType::float64;
  throw std::invalid_argument("dtype must be float16, bfloat16, float32 or float64, got " + name);
}

sac::Metric metric_of(const std::string& name) {
  if (name == "cosine") return sac::Metric::cosine;
  if (name == "pearson") return sac::Metric::pearson;
  if (name == "rbf") return sac::Metric::rbf;
  throw std::invalid_argument("metric must be cosine, pearson or rbf, got " + name);
}

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

sac::CpuOptions cpu_options(int threads, const std::string& instruction_set) {
  sac::CpuOptions options;
  options.threads = threads;
  options.instruction_set = instruction_set_of(instruction_set);
  options.cancelled = [] {
    py::gil_scoped_acquire gil;
    return PyErr_CheckSignals() != 0;  // leaves the exception (KeyboardInterrupt) set
  };
  return options;
}

// Runs a kernel without the GIL; an interrupted one raises what the signal handler raised.
template <typename Kernel>
auto without_gil(const Kernel& kernel) {
  try {
    py::gil_scoped_release no_gil;
    return kernel();
  } catch (const sac::Cancelled&) {
    throw py::error_already_set();
  }
}

// data, dtype, rows, cols, row stride, col stride
using View = std::tuple<std::uintptr_t, std::string, std::int64_t, std::int64_t, std::int64_t, std::int64_t>;

sac::MatrixView view_of(const View& view) {
  const auto& [data, dtype, rows, cols, row_stride, col_stride] = view;
  return {reinterpret_cast<const void*>(data), dtype_of(dtype), rows, cols, row_stride, col_stride};
}

std::vector<sac::MatrixView> views_of(const std::vector<View>& views) {
  std::vector<sac::MatrixView> all;
  all.reserve(views.size());
  for (const View& view : views) all.push_back(view_of(view));
  return all;
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

void pairwise_correlation_distances_cpu(const std::vector<View>& zoo, const std::string& metric, double sigma,
                                        bool wide, int threads, const std::string& instruction_set,
                                        std::uintptr_t distances) {
  const auto options = cpu_options(threads, instruction_set);
  const auto views = views_of(zoo);
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

void nearest_models_cpu(const std::vector<View>& zoo, const std::vector<View>& queries, const std::string& metric,
                        double sigma, std::int64_t top, std::int64_t candidates, int threads,
                        const std::string& instruction_set, std::uintptr_t distances, std::uintptr_t indices) {
  const sac::NearestOptions options{top, candidates, cpu_options(threads, instruction_set)};
  const auto views = views_of(zoo), asked = views_of(queries);
  const auto kind = metric_of(metric);
  without_gil([&] {
    sac::nearest_models_cpu(views, asked.empty() ? nullptr : &asked, kind, sigma, options,
                            reinterpret_cast<double*>(distances), reinterpret_cast<std::int64_t*>(indices));
  });
}

sac::VectorForm form_of(const std::string& dtype) {
  if (dtype == "uint8") return sac::VectorForm::uint8;
  if (dtype == "float16") return sac::VectorForm::float16;
  if (dtype == "float32") return sac::VectorForm::float32;
  throw std::invalid_argument("dtype of vectors must be uint8, float16 or float32, got " + dtype);
}

void nearest_vectors_cpu(std::uintptr_t zoo, std::int64_t models, std::uintptr_t queries, std::int64_t asked,
                         const std::string& dtype, std::int64_t probes, std::int64_t top, std::int64_t candidates,
                         int threads, const std::string& instruction_set, std::uintptr_t distances,
                         std::uintptr_t indices) {
  const sac::NearestOptions options{top, candidates, cpu_options(threads, instruction_set)};
  const sac::VectorZoo left{reinterpret_cast<const void*>(zoo), form_of(dtype), models, probes};
  const sac::VectorZoo right{reinterpret_cast<const void*>(queries), form_of(dtype), asked, probes};
  without_gil([&] {
    sac::nearest_models_cpu(left, asked ? &right : nullptr, options, reinterpret_cast<double*>(distances),
                            reinterpret_cast<std::int64_t*>(indices));
  });
}

sac::JpegBatch jpeg_batch_of(std::uintptr_t images, std::uintptr_t out, std::int64_t count, int height, int width,
                             int channels, std::uintptr_t quality, int quality_step, const std::string& subsampling) {
  const auto kind = subsampling == "4:4:4"   ? sac::Subsampling::s444
                    : subsampling == "4:2:2" ? sac::Subsampling::s422
                                             : sac::Subsampling::s420;
  return {reinterpret_cast<const std::uint8_t*>(images),
          reinterpret_cast<std::uint8_t*>(out),
          count,
          height,
          width,
          channels,
          reinterpret_cast<const std::uint8_t*>(quality),
          quality_step,
          kind};
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

void correlation_distance_cuda(std::uintptr_t a, std::int64_t a_cols, std::uintptr_t b, std::int64_t b_cols,
                               std::int64_t rows, double inverse_bandwidth, std::uintptr_t partial,
                               std::uintptr_t stream) {
  py::gil_scoped_release no_gil;
  sac::correlation_distance_cuda(reinterpret_cast<const double*>(a), a_cols, reinterpret_cast<const double*>(b), b_cols,
                                 rows, inverse_bandwidth, reinterpret_cast<double*>(partial),
                                 reinterpret_cast<void*>(stream));
}

void pack_rows_cuda(const View& outputs, std::int64_t models, std::int64_t model_stride, bool centre, int parts,
                    std::uintptr_t packed, std::uintptr_t squared_norms, std::int64_t first_row,
                    std::uintptr_t bad_rows, std::uintptr_t stream) {
  const sac::PackRows work{view_of(outputs),
                           models,
                           model_stride,
                           centre,
                           parts,
                           reinterpret_cast<void*>(packed),
                           reinterpret_cast<float*>(squared_norms),
                           first_row,
                           reinterpret_cast<std::int64_t*>(bad_rows)};
  py::gil_scoped_release no_gil;
  sac::pack_rows_cuda(work, reinterpret_cast<void*>(stream));
}

// rows, cols, square, parts, inverse bandwidth, kernel
using Shape = std::tuple<std::int64_t, std::int64_t, bool, int, double, std::string>;
// packed rows, packed cols, norms of rows, norms of cols, k
using Packed = std::tuple<std::uintptr_t, std::uintptr_t, std::uintptr_t, std::uintptr_t, std::int64_t>;

sac::TileShape shape_of(const Shape& shape) {
  const auto& [rows, cols, square, parts, inverse_bandwidth, name] = shape;
  const auto kernel = name == "warp"        ? sac::TileKernel::warp
                      : name == "warpgroup" ? sac::TileKernel::warpgroup
                                            : sac::TileKernel::automatic;
  return {rows, cols, square, parts, inverse_bandwidth, kernel};
}

sac::PackedModels packed_of(const Packed& packed) {
  const auto& [rows, cols, row_norms, col_norms, k] = packed;
  return {reinterpret_cast<const void*>(rows), reinterpret_cast<const void*>(cols),
          reinterpret_cast<const float*>(row_norms), reinterpret_cast<const float*>(col_norms), k};
}

void correlation_distances_tiles(const Shape& shape, const Packed& source, const Packed& suspects, std::int64_t count,
                                 std::uintptr_t partial, std::uintptr_t stream) {
  const auto tiles = shape_of(shape);
  const auto one = packed_of(source), many = packed_of(suspects);
  py::gil_scoped_release no_gil;
  sac::correlation_distances_tiles(tiles, one, many, count, reinterpret_cast<double*>(partial),
                                   reinterpret_cast<void*>(stream));
}

void correlation_matrix_tiles(const Shape& shape, const Packed& models, std::int64_t count, bool vector,
                              std::uintptr_t out, std::uintptr_t stream) {
  const auto tiles = shape_of(shape);
  const auto packed = packed_of(models);
  py::gil_scoped_release no_gil;
  sac::correlation_matrix_tiles(tiles, packed, count, vector, reinterpret_cast<float*>(out),
                                reinterpret_cast<void*>(stream));
}

void jpeg_roundtrip_cuda(std::uintptr_t images, std::uintptr_t out, std::int64_t count, int height, int width,
                         int channels, std::uintptr_t quality, int quality_step, const std::string& subsampling,
                         std::uintptr_t stream) {
  const sac::JpegBatch batch =
      jpeg_batch_of(images, out, count, height, width, channels, quality, quality_step, subsampling);
  py::gil_scoped_release no_gil;
  sac::jpeg_roundtrip_cuda(batch, reinterpret_cast<void*>(stream));
}

sac::SweepForm sweep_form_of(const std::string& dtype) {
  if (dtype == "float64") return sac::SweepForm::float64;
  switch (form_of(dtype)) {
    case sac::VectorForm::uint8: return sac::SweepForm::uint8;
    case sac::VectorForm::float16: return sac::SweepForm::float16;
    case sac::VectorForm::float32: break;
  }
  return sac::SweepForm::float32;
}

// data, rows, bytes from one row to the next
using Rows = std::tuple<std::uintptr_t, std::int64_t, std::int64_t>;

sac::SweepRows sweep_rows_of(const Rows& rows) {
  const auto& [data, count, pitch] = rows;
  if (data % sac::kSweepChunkBytes != 0 || pitch % sac::kSweepChunkBytes != 0)
    throw std::invalid_argument("rows of a sweep must be aligned to 16 bytes");
  return {reinterpret_cast<const std::uint8_t*>(data), count, pitch};
}

void pairwise_correlation_distances_cuda(const Rows& x, const Rows& y, bool triangle, const std::string& dtype,
                                         std::uintptr_t sums, bool add, std::uintptr_t distances, bool wide,
                                         double scale, std::uintptr_t stream) {
  const auto left = sweep_rows_of(x), right = sweep_rows_of(y);
  const auto form = sweep_form_of(dtype);
  const sac::SweepOutput out{reinterpret_cast<double*>(sums), add, reinterpret_cast<void*>(distances), wide, scale};
  py::gil_scoped_release no_gil;
  sac::pairwise_correlation_distances_cuda(left, right, triangle, form, left.pitch, out,
                                           reinterpret_cast<void*>(stream));
}

void nearest_models_cuda(const Rows& queries, const Rows& zoo, const std::string& dtype, int top,
                         std::int64_t first_query, std::int64_t first_model, bool leave_itself_out, std::int64_t parts,
                         std::uintptr_t lists, std::uintptr_t stream) {
  const auto asked = sweep_rows_of(queries), models = sweep_rows_of(zoo);
  const sac::NearestSweep sweep{sweep_form_of(dtype), models.pitch, top, first_query, first_model, leave_itself_out};
  py::gil_scoped_release no_gil;
  sac::nearest_models_cuda(asked, models, sweep, parts, reinterpret_cast<std::int64_t*>(lists),
                           reinterpret_cast<void*>(stream));
}

void nearest_models_cuda_symmetric(const Rows& zoo, const std::string& dtype, int top, std::uintptr_t lists,
                                   std::uintptr_t stream) {
  const auto models = sweep_rows_of(zoo);
  const sac::NearestSweep sweep{sweep_form_of(dtype), models.pitch, top, 0, 0, true};
  py::gil_scoped_release no_gil;
  sac::nearest_models_cuda(models, sweep, reinterpret_cast<std::int64_t*>(lists), reinterpret_cast<void*>(stream));
}
#else
constexpr const char* kCudaArchitectures = "";
#endif

}  // namespace

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
  m.def("correlation_distance_cuda_blocks", &sac::correlation_distance_cuda_blocks, py::arg("rows"),
        "Number of partial sums of correlation_distance_cuda.");
  m.def("correlation_distance_cuda", &correlation_distance_cuda, py::arg("a"), py::arg("a_cols"), py::arg("b"),
        py::arg("b_cols"), py::arg("rows"), py::arg("inverse_bandwidth"), py::arg("partial"), py::arg("stream"),
        "Partial sums of |C^a - C^b|; see csrc/include/sac/correlation_distance_cuda.h");
  m.def("packed_bytes", &sac::packed_bytes, py::arg("rows"), py::arg("k"), py::arg("parts"),
        "Bytes of a packed model; see csrc/include/sac/packed_tiles.h");
  m.def("pack_rows_cuda", &pack_rows_cuda, py::arg("outputs"), py::arg("models"), py::arg("model_stride"),
        py::arg("centre"), py::arg("parts"), py::arg("packed"), py::arg("squared_norms"), py::arg("first_row"),
        py::arg("bad_rows"), py::arg("stream"), "Normalised rows for tensor cores; see csrc/include/sac/pack_rows.h");
  m.def(
      "correlation_distances_tiles_blocks",
      [](const Shape& shape, std::int64_t count) {
        return sac::correlation_distances_plan(shape_of(shape), count).blocks;
      },
      py::arg("shape"), py::arg("count"), "Partial sums of each suspect of correlation_distances_tiles.");
  m.def("correlation_distances_tiles", &correlation_distances_tiles, py::arg("shape"), py::arg("source"),
        py::arg("suspects"), py::arg("count"), py::arg("partial"), py::arg("stream"),
        "Partial sums of |C^source - C^s|; see csrc/include/sac/correlation_tiles.h");
  m.def("correlation_matrix_tiles", &correlation_matrix_tiles, py::arg("shape"), py::arg("models"), py::arg("count"),
        py::arg("vector"), py::arg("out"), py::arg("stream"),
        "C of each model, float32; see csrc/include/sac/correlation_tiles.h");
  m.def("jpeg_roundtrip_cuda", &jpeg_roundtrip_cuda, py::arg("images"), py::arg("out"), py::arg("count"),
        py::arg("height"), py::arg("width"), py::arg("channels"), py::arg("quality"), py::arg("quality_step"),
        py::arg("subsampling"), py::arg("stream"), "Pixels after JPEG; see csrc/include/sac/jpeg_roundtrip.h");
  m.def("pairwise_correlation_distances_cuda", &pairwise_correlation_distances_cuda, py::arg("x"), py::arg("y"),
        py::arg("triangle"), py::arg("dtype"), py::arg("sums"), py::arg("add"), py::arg("distances"), py::arg("wide"),
        py::arg("scale"), py::arg("stream"), "L1 distances of rows; see csrc/include/sac/zoo_cuda.h");
  m.def("nearest_models_cuda", &nearest_models_cuda, py::arg("queries"), py::arg("zoo"), py::arg("dtype"),
        py::arg("top"), py::arg("first_query"), py::arg("first_model"), py::arg("leave_itself_out"), py::arg("parts"),
        py::arg("lists"), py::arg("stream"), "Offers a zoo to queries; see csrc/include/sac/zoo_cuda.h");
  m.def("nearest_models_cuda_symmetric", &nearest_models_cuda_symmetric, py::arg("zoo"), py::arg("dtype"),
        py::arg("top"), py::arg("lists"), py::arg("stream"), "Offers a zoo to itself; see csrc/include/sac/zoo_cuda.h");
#endif
  m.def("instruction_sets", &instruction_sets, "Instruction sets usable here, best first.");
  m.def("correlation_distance_cpu", &correlation_distance_cpu, py::arg("a"), py::arg("b"), py::arg("metric"),
        py::arg("sigma"), py::arg("threads"), py::arg("instruction_set"),
        "mean |C^a - C^b|; see csrc/include/sac/correlation_distance.h");
  m.def("correlation_distance_weighted_cpu", &correlation_distance_weighted_cpu, py::arg("a"), py::arg("b"),
        py::arg("weights"), py::arg("replicates"), py::arg("metric"), py::arg("sigma"), py::arg("threads"),
        py::arg("instruction_set"), py::arg("distances"),
        "float64 distances for each row of weights; see csrc/include/sac/correlation_distance_weighted.h");
  m.def("correlation_distances_cpu", &correlation_distances_cpu, py::arg("source"), py::arg("suspects"),
        py::arg("metric"), py::arg("sigma"), py::arg("threads"), py::arg("instruction_set"), py::arg("distances"),
        "float64 distances of one source to each suspect; see csrc/include/sac/zoo.h");
  m.def("pairwise_correlation_distances_cpu", &pairwise_correlation_distances_cpu, py::arg("zoo"), py::arg("metric"),
        py::arg("sigma"), py::arg("wide"), py::arg("threads"), py::arg("instruction_set"), py::arg("distances"),
        "m x m distances; see csrc/include/sac/zoo.h");
  m.def("correlation_vector_cpu", &correlation_vector_cpu, py::arg("outputs"), py::arg("metric"), py::arg("sigma"),
        py::arg("wide"), py::arg("threads"), py::arg("instruction_set"), py::arg("vector"),
        "Entries of C above the diagonal; see csrc/include/sac/zoo.h");
  m.def("nearest_models_cpu", &nearest_models_cpu, py::arg("zoo"), py::arg("queries"), py::arg("metric"),
        py::arg("sigma"), py::arg("top"), py::arg("candidates"), py::arg("threads"), py::arg("instruction_set"),
        py::arg("distances"), py::arg("indices"), "Nearest models by their outputs; see csrc/include/sac/zoo.h");
  m.def("nearest_vectors_cpu", &nearest_vectors_cpu, py::arg("zoo"), py::arg("models"), py::arg("queries"),
        py::arg("asked"), py::arg("dtype"), py::arg("probes"), py::arg("top"), py::arg("candidates"),
        py::arg("threads"), py::arg("instruction_set"), py::arg("distances"), py::arg("indices"),
        "Nearest models by their correlation vectors; see csrc/include/sac/zoo.h");
  m.def("jpeg_roundtrip_cpu", &jpeg_roundtrip_cpu, py::arg("images"), py::arg("out"), py::arg("count"),
        py::arg("height"), py::arg("width"), py::arg("channels"), py::arg("quality"), py::arg("quality_step"),
        py::arg("subsampling"), py::arg("threads"), py::arg("instruction_set"),
        "Pixels after JPEG; see csrc/include/sac/jpeg_roundtrip.h");
}
