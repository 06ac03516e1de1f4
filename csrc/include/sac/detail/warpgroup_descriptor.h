// How wgmma is told where an operand lies in shared memory (PTX ISA, "Matrix descriptor"): address, and the bytes
// between its 8×8 matrices along the coordinates and along the rows, each in units of 16; no swizzle.
#pragma once

#include <cstdint>

#include "sac/detail/packed_tiles.h"

namespace sac {

// The rows from an 8-row group on, 16 coordinates, of a packed block whose place is `address`.
SAC_HOST_DEVICE inline std::uint64_t warpgroup_descriptor(std::uint32_t address) {
  const std::uint64_t between_coordinates = kHalfStepBytes, between_rows = kMatrixBytes;
  return (static_cast<std::uint64_t>(address & 0x3ffffu) >> 4) | between_coordinates >> 4 << 16 |
         between_rows >> 4 << 32;
}

}  // namespace sac
