// The table of one instruction set's kernels.
#pragma once

#include "cpu/kernels/byte_sweep.h"
#include "cpu/kernels/correlation_gradient.h"
#include "cpu/kernels/correlation_models.h"
#include "cpu/kernels/correlation_pair.h"
#include "cpu/kernels/correlation_weighted.h"
#include "cpu/kernels/fixed_point_pairs.h"
#include "cpu/kernels/normalise.h"
#include "cpu/kernels/transpose.h"

namespace sac {
namespace {

template <typename T>
constexpr KernelsOf<T> kernel_table_of() {
  return {Shape<T>::width,
          normalise<T>,
          normalise_floats<T>,
          write_lines<T>,
          group_sum_dot<T>,
          group_sum_of<T, Tile::rbf>,
          block_values<T, false>,
          block_values<T, true>,
          block_distance<T, false>,
          block_distance<T, true>,
          abs_difference<T>,
          all_pairs<T>,
          pair_block_dot<T>,
          pair_block_of<T, Tile::rbf>,
          SAC_TILE_ROWS,
          weighted_sums<T>,
          sign_block<T, false>,
          sign_block<T, true>,
          transpose_block<T>,
          add_products<T>};
}

constexpr Kernels kernel_table() {
  return {kernel_table_of<float>(),
          kernel_table_of<double>(),
          all_pairs<std::uint8_t>,
          byte_columns,
          rows_within,
          to_fixed_point,
          sum_minima};
}

}  // namespace
}  // namespace sac
