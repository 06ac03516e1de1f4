// Searches among vectors of bytes.
#include "bindings.h"
#include "sac/byte_vectors.h"

namespace {

using namespace sac_bindings;

// Pointer, rows, stride and bytes.
using Part = std::tuple<std::uintptr_t, std::int64_t, std::int64_t, std::int64_t>;

std::vector<sac::ByteRows> rows_of(const std::vector<Part>& parts) {
  std::vector<sac::ByteRows> all;
  all.reserve(parts.size());
  for (const auto& [data, rows, stride, bytes] : parts)
    all.push_back({reinterpret_cast<const std::uint8_t*>(data), rows, stride, bytes});
  return all;
}

void pack_bytes_cpu(const std::vector<View>& models, const std::string& metric, double sigma, std::uintptr_t order,
                    std::int64_t entries, std::int64_t head_bytes, std::uintptr_t head, std::int64_t head_stride,
                    std::uintptr_t tail, std::int64_t tail_stride, int threads, const std::string& instruction_set) {
  const auto options = cpu_options(threads, instruction_set);
  const auto views = views_of(models);
  const auto kind = metric_of(metric);
  const sac::BytePlaces places{
      reinterpret_cast<const std::int32_t*>(order), entries,     head_bytes, reinterpret_cast<std::uint8_t*>(head),
      reinterpret_cast<std::uint8_t*>(tail),        head_stride, tail_stride};
  without_gil([&] { sac::pack_bytes_cpu(views, kind, sigma, places, options); });
}

void nearest_bytes_cpu(const std::vector<Part>& models, const std::vector<Part>& queries, std::int64_t first_query,
                       std::int64_t top, int threads, const std::string& instruction_set, std::uintptr_t keys) {
  const auto options = cpu_options(threads, instruction_set);
  const auto right = rows_of(models), left = rows_of(queries);
  without_gil([&] {
    sac::nearest_bytes_cpu(right, left.empty() ? nullptr : &left, first_query, top, options,
                           reinterpret_cast<std::uint64_t*>(keys));
  });
}

void rank_bytes_cpu(const std::vector<Part>& models, const std::vector<Part>& queries, std::uintptr_t candidates,
                    std::int64_t each, std::int64_t top, int threads, const std::string& instruction_set,
                    std::uintptr_t keys) {
  const auto options = cpu_options(threads, instruction_set);
  const auto right = rows_of(models), left = rows_of(queries);
  without_gil([&] {
    sac::rank_bytes_cpu(right, left, reinterpret_cast<const std::int64_t*>(candidates), each, top, options,
                        reinterpret_cast<std::uint64_t*>(keys));
  });
}

py::bytes within_bytes_cpu(const std::vector<Part>& models, const std::vector<Part>& queries, std::int64_t first,
                           std::int64_t last, std::int64_t limit, int threads, const std::string& instruction_set) {
  const auto options = cpu_options(threads, instruction_set);
  const auto right = rows_of(models), left = rows_of(queries);
  const auto pairs = without_gil(
      [&] { return sac::within_bytes_cpu(right, left.empty() ? nullptr : &left, first, last, limit, options); });
  return {reinterpret_cast<const char*>(pairs.data()), pairs.size() * sizeof(sac::BytePair)};
}

}  // namespace

void sac_bindings::define_bytes(py::module_& m) {
  m.def("pack_bytes_cpu", &pack_bytes_cpu, py::arg("models"), py::arg("metric"), py::arg("sigma"), py::arg("order"),
        py::arg("entries"), py::arg("head_bytes"), py::arg("head"), py::arg("head_stride"), py::arg("tail"),
        py::arg("tail_stride"), py::arg("threads"), py::arg("instruction_set"),
        "Vectors as bytes, their entries in a given order; see csrc/include/sac/byte_vectors.h");
  m.def("nearest_bytes_cpu", &nearest_bytes_cpu, py::arg("models"), py::arg("queries"), py::arg("first_query"),
        py::arg("top"), py::arg("threads"), py::arg("instruction_set"), py::arg("keys"),
        "Nearest rows of bytes, as sum << 32 | row; see csrc/include/sac/byte_vectors.h");
  m.def("rank_bytes_cpu", &rank_bytes_cpu, py::arg("models"), py::arg("queries"), py::arg("candidates"),
        py::arg("each"), py::arg("top"), py::arg("threads"), py::arg("instruction_set"), py::arg("keys"),
        "Nearest candidates by all parts of their bytes; see csrc/include/sac/byte_vectors.h");
  m.def("within_bytes_cpu", &within_bytes_cpu, py::arg("models"), py::arg("queries"), py::arg("first"), py::arg("last"),
        py::arg("limit"), py::arg("threads"), py::arg("instruction_set"),
        "Pairs (query, model, sum) of int64 with a sum up to the limit; see csrc/include/sac/byte_vectors.h");
}
