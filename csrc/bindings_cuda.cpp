// The CUDA launchers, for builds that have them.
#include "bindings.h"
#include "sac/correlation_distance.h"
#include "sac/correlation_distances.h"
#include "sac/correlation_matrix.h"
#include "sac/detail/packed_tiles.h"
#include "sac/nearest_models.h"
#include "sac/pairwise_correlation_distances.h"

namespace sac_bindings {
namespace {

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

sac::TileKernel tile_kernel_of(const std::string& name) {
  if (name == "automatic") return sac::TileKernel::automatic;
  if (name == "warp") return sac::TileKernel::warp;
  if (name == "warpgroup") return sac::TileKernel::warpgroup;
  throw std::invalid_argument("kernel must be automatic, warp or warpgroup, got " + name);
}

sac::TileShape shape_of(const Shape& shape) {
  const auto& [rows, cols, square, parts, inverse_bandwidth, kernel] = shape;
  return {rows, cols, square, parts, inverse_bandwidth, tile_kernel_of(kernel)};
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
  const auto form = form_of(dtype);
  const sac::SweepOutput out{reinterpret_cast<double*>(sums), add, reinterpret_cast<void*>(distances), wide, scale};
  py::gil_scoped_release no_gil;
  sac::pairwise_correlation_distances_cuda(left, right, triangle, form, left.pitch, out,
                                           reinterpret_cast<void*>(stream));
}

void nearest_models_cuda(const Rows& queries, const Rows& models, const std::string& dtype, int top,
                         std::int64_t first_query, std::int64_t first_model, bool exclude_self, std::int64_t parts,
                         std::uintptr_t lists, std::uintptr_t stream) {
  const auto asked = sweep_rows_of(queries), vectors = sweep_rows_of(models);
  const sac::NearestSweep sweep{form_of(dtype), vectors.pitch, top, first_query, first_model, exclude_self};
  py::gil_scoped_release no_gil;
  sac::nearest_models_cuda(asked, vectors, sweep, parts, reinterpret_cast<std::int64_t*>(lists),
                           reinterpret_cast<void*>(stream));
}

void nearest_models_cuda_symmetric(const Rows& models, const std::string& dtype, int top, std::uintptr_t lists,
                                   std::uintptr_t stream) {
  const auto vectors = sweep_rows_of(models);
  const sac::NearestSweep sweep{form_of(dtype), vectors.pitch, top, 0, 0, true};
  py::gil_scoped_release no_gil;
  sac::nearest_models_cuda(vectors, sweep, reinterpret_cast<std::int64_t*>(lists), reinterpret_cast<void*>(stream));
}

}  // namespace

void define_cuda(py::module_& m) {
  m.def("correlation_distance_cuda_blocks", &sac::correlation_distance_cuda_blocks, py::arg("rows"),
        "Number of partial sums of correlation_distance_cuda.");
  m.def("correlation_distance_cuda", &correlation_distance_cuda, py::arg("a"), py::arg("a_cols"), py::arg("b"),
        py::arg("b_cols"), py::arg("rows"), py::arg("inverse_bandwidth"), py::arg("partial"), py::arg("stream"),
        "Partial sums of |C^a - C^b|; see csrc/include/sac/correlation_distance.h");
  m.def("packed_bytes", &sac::packed_bytes, py::arg("rows"), py::arg("k"), py::arg("parts"),
        "Bytes of a packed model; see csrc/include/sac/detail/packed_tiles.h");
  m.def("pack_rows_cuda", &pack_rows_cuda, py::arg("outputs"), py::arg("models"), py::arg("model_stride"),
        py::arg("centre"), py::arg("parts"), py::arg("packed"), py::arg("squared_norms"), py::arg("first_row"),
        py::arg("bad_rows"), py::arg("stream"),
        "Normalised rows for tensor cores; see csrc/include/sac/detail/packed_tiles.h");
  m.def(
      "correlation_distances_tiles_blocks",
      [](const Shape& shape, std::int64_t count) {
        return sac::correlation_distances_plan(shape_of(shape), count).blocks;
      },
      py::arg("shape"), py::arg("count"), "Partial sums of each suspect of correlation_distances_tiles.");
  m.def("correlation_distances_tiles", &correlation_distances_tiles, py::arg("shape"), py::arg("source"),
        py::arg("suspects"), py::arg("count"), py::arg("partial"), py::arg("stream"),
        "Partial sums of |C^source - C^s|; see csrc/include/sac/correlation_distances.h");
  m.def("correlation_matrix_tiles", &correlation_matrix_tiles, py::arg("shape"), py::arg("models"), py::arg("count"),
        py::arg("vector"), py::arg("out"), py::arg("stream"),
        "C of each model, float32; see csrc/include/sac/correlation_matrix.h");
  m.def("jpeg_roundtrip_cuda", &jpeg_roundtrip_cuda, py::arg("images"), py::arg("out"), py::arg("count"),
        py::arg("height"), py::arg("width"), py::arg("channels"), py::arg("quality"), py::arg("quality_step"),
        py::arg("subsampling"), py::arg("stream"), "Pixels after JPEG; see csrc/include/sac/jpeg_roundtrip.h");
  m.def("pairwise_correlation_distances_cuda", &pairwise_correlation_distances_cuda, py::arg("x"), py::arg("y"),
        py::arg("triangle"), py::arg("dtype"), py::arg("sums"), py::arg("add"), py::arg("distances"), py::arg("wide"),
        py::arg("scale"), py::arg("stream"),
        "L1 distances of rows; see csrc/include/sac/pairwise_correlation_distances.h");
  m.def("nearest_models_cuda", &nearest_models_cuda, py::arg("queries"), py::arg("models"), py::arg("dtype"),
        py::arg("top"), py::arg("first_query"), py::arg("first_model"), py::arg("exclude_self"), py::arg("parts"),
        py::arg("lists"), py::arg("stream"), "Nearest models of queries; see csrc/include/sac/nearest_models.h");
  m.def("nearest_models_cuda_symmetric", &nearest_models_cuda_symmetric, py::arg("models"), py::arg("dtype"),
        py::arg("top"), py::arg("lists"), py::arg("stream"),
        "Nearest models of each model; see csrc/include/sac/nearest_models.h");
}

}  // namespace sac_bindings
