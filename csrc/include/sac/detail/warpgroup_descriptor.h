// The shared memory matrix descriptor of a wgmma operand (PTX ISA, "Matrix descriptor"): address, and the bytes between
// its 8×8 matrices along the coordinates and along the rows, each in units of 16; no swizzle.
#pragma once

#include <cstdint>

#include "sac/detail/packed_tiles.h"

namespace sac {

// Of rows that start at an 8-row group, 16 coordinates, of a packed block at `address`.
SAC_HOST_DEVICE inline std::uint64_t warpgroup_descriptor(std::uint32_t address) {
  const std::uint64_t between_coordinates = kHalfStepBytes, between_rows = kMatrixBytes;
  return (static_cast<std::uint64_t>(address & 0x3ffffu) >> 4) | between_coordinates >> 4 << 16 |
         between_rows >> 4 << 32;
}

}  // namespace sac
