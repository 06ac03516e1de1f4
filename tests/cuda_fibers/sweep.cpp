// Functions that ctypes can call, for tests/test_sweep_emulated.py; linked with the sources of the sweep kernels.
#include "cuda/detail/sweep_tile.cuh"
#include "sac/nearest_models.h"
#include "sac/pairwise_correlation_distances.h"

namespace {

struct Rows {
  const std::uint8_t* data;
  std::int64_t rows, pitch;
};
sac::SweepRows rows_of(const Rows& rows) {
  sac::ptx::readable.emplace_back(rows.data, rows.data + rows.rows * rows.pitch);
  return {rows.data, rows.rows, rows.pitch};
}

template <class Form, class Entry>
double summed(const Entry* x, const Entry* y, std::int64_t entries) {
  constexpr std::int64_t each = sizeof(typename Form::Piece) / sizeof(Entry);
  auto sums = std::make_unique<sac::SweepSums<Form>>();
  for (std::int64_t e = 0, pieces = 1; e < entries; e += each, ++pieces) {
    Form::add(sums->sum[0][0], *reinterpret_cast<const typename Form::Piece*>(x + e),
              *reinterpret_cast<const typename Form::Piece*>(y + e));
    if (pieces % (sac::kCompensateSlabs * sac::kSweepSlabChunks) == 0) sums->add_compensated();
  }
  return static_cast<double>(sums->value(0, 0));
}

}  // namespace

extern "C" {

// The order of threads (fibers::turns), and whether copies complete as early as they may, or as late.
void schedule(int turns, bool early) {
  fibers::turns = static_cast<unsigned>(turns);
  fibers::early = early;
}

void pairwise(const Rows* x, const Rows* y, bool triangle, int form, double* sums, bool add, void* distances, bool wide,
              double scale) {
  sac::ptx::readable.clear();
  sac::pairwise_correlation_distances_cuda(rows_of(*x), rows_of(*y), triangle, static_cast<sac::VectorForm>(form),
                                           x->pitch, {sums, add, distances, wide, scale}, nullptr);
}

void nearest(const Rows* queries, const Rows* models, int form, int top, std::int64_t first_query,
             std::int64_t first_model, bool exclude_self, std::int64_t parts, std::int64_t* lists) {
  sac::ptx::readable.clear();
  const sac::NearestSweep sweep{
      static_cast<sac::VectorForm>(form), models->pitch, top, first_query, first_model, exclude_self};
  sac::nearest_models_cuda(rows_of(*queries), rows_of(*models), sweep, parts, lists, nullptr);
}

void nearest_symmetric(const Rows* models, int form, int top, std::int64_t* lists) {
  sac::ptx::readable.clear();
  const sac::NearestSweep sweep{static_cast<sac::VectorForm>(form), models->pitch, top, 0, 0, true};
  sac::nearest_models_cuda(rows_of(*models), sweep, lists, nullptr);
}

// The sum of one thread for one pair of long rows.
double summed_float32(const float* x, const float* y, std::int64_t entries) {
  return summed<sac::Float32Chunks>(x, y, entries);
}
double summed_float16(const std::uint16_t* x, const std::uint16_t* y, std::int64_t entries) {
  return summed<sac::Float16Chunks>(x, y, entries);
}

int slab_offset(int row, int chunk) { return sac::sweep_slab_offset(row, chunk); }
int matrix_word(int i, int j) { return sac::sweep_matrix_word(i, j); }
int thread_row(int thread) { return sac::sweep_thread_row(thread); }
int thread_col(int thread) { return sac::sweep_thread_col(thread); }
std::int64_t part_start(std::int64_t part, std::int64_t parts, std::int64_t tiles) {
  return sac::sweep_part_start(part, parts, tiles);
}
void pair_of(std::int64_t round, std::int64_t table, std::int64_t players, std::int64_t* out) {
  const sac::TriangleTile pair = sac::tournament_pair(round, table, players);
  out[0] = pair.row;
  out[1] = pair.col;
}
std::int64_t key(std::uint32_t bits, std::int64_t model) { return sac::neighbour_key(bits, model); }

}  // extern "C"
