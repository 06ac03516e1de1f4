// Shared by the bindings. Pointers, sizes and strides come in as integers: no torch.
#pragma once

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstdint>
#include <stdexcept>
#include <string>
#include <tuple>
#include <vector>

#include "sac/detail/cancelled.h"
#include "sac/detail/cpu_options.h"
#include "sac/detail/matrix_view.h"
#include "sac/detail/metric.h"
#include "sac/detail/vector_form.h"
#include "sac/jpeg_roundtrip.h"

namespace sac_bindings {

namespace py = pybind11;

inline sac::DType dtype_of(const std::string& name) {
  if (name == "float16") return sac::DType::float16;
  if (name == "bfloat16") return sac::DType::bfloat16;
  if (name == "float32") return sac::DType::float32;
  if (name == "float64") return sac::DType::float64;
  throw std::invalid_argument("dtype must be float16, bfloat16, float32 or float64, got " + name);
}

// data, dtype, rows, cols, row stride, col stride
using View = std::tuple<std::uintptr_t, std::string, std::int64_t, std::int64_t, std::int64_t, std::int64_t>;

inline sac::MatrixView view_of(const View& view) {
  const auto& [data, dtype, rows, cols, row_stride, col_stride] = view;
  return {reinterpret_cast<const void*>(data), dtype_of(dtype), rows, cols, row_stride, col_stride};
}

inline std::vector<sac::MatrixView> views_of(const std::vector<View>& views) {
  std::vector<sac::MatrixView> all;
  all.reserve(views.size());
  for (const View& view : views) all.push_back(view_of(view));
  return all;
}

inline sac::Metric metric_of(const std::string& name) {
  if (name == "cosine") return sac::Metric::cosine;
  if (name == "pearson") return sac::Metric::pearson;
  if (name == "rbf") return sac::Metric::rbf;
  throw std::invalid_argument("metric must be cosine, pearson or rbf, got " + name);
}

inline sac::VectorForm form_of(const std::string& dtype) {
  if (dtype == "uint8") return sac::VectorForm::uint8;
  if (dtype == "float16") return sac::VectorForm::float16;
  if (dtype == "float32") return sac::VectorForm::float32;
  if (dtype == "float64") return sac::VectorForm::float64;
  throw std::invalid_argument("dtype of vectors must be uint8, float16, float32 or float64, got " + dtype);
}

inline sac::Subsampling subsampling_of(const std::string& name) {
  if (name == "4:4:4") return sac::Subsampling::s444;
  if (name == "4:2:2") return sac::Subsampling::s422;
  if (name == "4:2:0") return sac::Subsampling::s420;
  throw std::invalid_argument("subsampling must be 4:4:4, 4:2:2 or 4:2:0, got " + name);
}

inline sac::JpegBatch jpeg_batch_of(std::uintptr_t images, std::uintptr_t out, std::int64_t count, int height,
                                    int width, int channels, std::uintptr_t quality, int quality_step,
                                    const std::string& subsampling) {
  return {reinterpret_cast<const std::uint8_t*>(images),
          reinterpret_cast<std::uint8_t*>(out),
          count,
          height,
          width,
          channels,
          reinterpret_cast<const std::uint8_t*>(quality),
          quality_step,
          subsampling_of(subsampling)};
}

// bindings.cpp. While a kernel runs, a signal whose handler raises cancels it.
sac::CpuOptions cpu_options(int threads, const std::string& instruction_set);

// Runs a kernel without the GIL. If it was cancelled, raises the exception that the signal handler set.
template <typename Kernel>
auto without_gil(const Kernel& kernel) {
  try {
    py::gil_scoped_release no_gil;
    return kernel();
  } catch (const sac::Cancelled&) {
    throw py::error_already_set();
  }
}

// bindings_bytes.cpp
void define_bytes(py::module_& m);

// bindings_cuda.cpp, in builds with CUDA
void define_cuda(py::module_& m);

}  // namespace sac_bindings
