// Quantisation: the example tables of the JPEG standard (ITU-T T.81, annex K.1), scaled to a quality as libjpeg does.
#pragma once

#include <cstdint>

#include "sac/detail/host_device.h"

namespace sac {

struct JpegBaseTables {
  std::uint8_t value[2][64];  // luminance, chrominance; row by row
};

SAC_HOST_DEVICE constexpr JpegBaseTables jpeg_base_tables() {
  return {{{16, 11, 10, 16, 24,  40,  51,  61,  12, 12, 14, 19, 26,  58,  60,  55,   //
            14, 13, 16, 24, 40,  57,  69,  56,  14, 17, 22, 29, 51,  87,  80,  62,   //
            18, 22, 37, 56, 68,  109, 103, 77,  24, 35, 55, 64, 81,  104, 113, 92,   //
            49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99},  //
           {17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99,          //
            24, 26, 56, 99, 99, 99, 99, 99, 47, 66, 99, 99, 99, 99, 99, 99,          //
            99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99,          //
            99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99}}};
}

// The step Q of one coefficient: 1 … 255.
SAC_HOST_DEVICE inline int jpeg_step(int base, int quality) {
  const int percent = quality < 50 ? 5000 / quality : 200 - 2 * quality;
  const int step = (base * percent + 50) / 100;
  return step < 1 ? 1 : step > 255 ? 255 : step;
}

// Division by d = 8Q as a multiplication, for requantise() (jpeg_math.h).
// With 2^s ≤ d < 2^(s+1), k = 15 + s and reciprocal = ceil(2^k / d) ≤ 2^15:
//   floor(n · reciprocal / 2^k) = floor(n / d)   whenever n · (reciprocal · d − 2^k) < 2^k,
// which holds since the bracket is below d < 2^(s+1) and n = |x| + 4Q ≤ 8192 + 1020 < 2^14.
struct JpegStep {
  std::int16_t step;         // Q
  std::int16_t half;         // 4Q
  std::uint16_t reciprocal;  // ceil(2^k / 8Q)
  std::uint16_t scale;       // 2^(15-s): the high 16 bits of a product with it are a shift by s + 1
};

SAC_HOST_DEVICE inline JpegStep jpeg_divisor(int step) {
  int s = 3;
  while ((step << 3) >> (s + 1)) ++s;
  const int divisor = step << 3, k = 15 + s;
  return {static_cast<std::int16_t>(step), static_cast<std::int16_t>(step << 2),
          static_cast<std::uint16_t>(((1 << k) + divisor - 1) / divisor), static_cast<std::uint16_t>(1 << (15 - s))};
}

// The same for all 64 coefficients, one array for each field.
struct alignas(64) JpegTable {
  std::int16_t step[64];
  std::int16_t half[64];
  std::uint16_t reciprocal[64];
  std::uint16_t scale[64];
};

SAC_HOST_DEVICE inline void jpeg_set_entry(JpegTable& table, int entry, int base, int quality) {
  const JpegStep d = jpeg_divisor(jpeg_step(base, quality));
  table.step[entry] = d.step;
  table.half[entry] = d.half;
  table.reciprocal[entry] = d.reciprocal;
  table.scale[entry] = d.scale;
}

}  // namespace sac
