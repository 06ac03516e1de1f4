// The inner loops of jpeg_roundtrip, compiled once for each instruction set: a band of MCU rows of one image.
#pragma once

#include <cstdint>

#include "sac/detail/jpeg_tables.h"
#include "sac/jpeg_roundtrip.h"

namespace sac {

struct JpegImage {
  const std::uint8_t* in;
  std::uint8_t* out;
  int height, width, channels;
  Subsampling subsampling;
  const JpegTable* luminance;
  const JpegTable* chrominance;
};

struct JpegKernels {
  // Bytes of scratch memory for a band of `mcu_rows`.
  std::int64_t (*scratch_bytes)(const JpegImage&, int mcu_rows);
  // Writes the pixel rows of the MCU rows first … last − 1. `scratch` starts on a 64-byte boundary.
  void (*band)(const JpegImage&, int first, int last, std::uint8_t* scratch);
};

extern const JpegKernels jpeg_kernels_portable;
extern const JpegKernels jpeg_kernels_avx2;
extern const JpegKernels jpeg_kernels_avx512;

}  // namespace sac
