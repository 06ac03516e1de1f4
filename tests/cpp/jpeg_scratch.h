// What lies in the scratch memory of a band before must not matter: not to the pixels, and not to arithmetic in lanes
// beyond the image's edge, which UndefinedBehaviorSanitizer sees.
#pragma once

#include <cstring>
#include <vector>

#include "cpu/detail/aligned_buffer.h"
#include "cpu/kernels/jpeg.h"
#include "expect.h"

namespace jpeg_scratch {

inline std::vector<std::uint8_t> roundtrip(const sac::JpegKernels& kernels, const std::vector<std::uint8_t>& pixels,
                                           int height, int width, int channels, sac::Subsampling subsampling,
                                           const std::uint8_t (&before)[2]) {
  constexpr sac::JpegBaseTables base = sac::jpeg_base_tables();
  sac::JpegTable tables[2];
  for (int k = 0; k < 2; ++k)
    for (int entry = 0; entry < 64; ++entry) sac::jpeg_set_entry(tables[k], entry, base.value[k][entry], 10);
  std::vector<std::uint8_t> out(pixels.size());
  const sac::JpegImage image{pixels.data(), out.data(), height, width, channels, subsampling, &tables[0], &tables[1]};
  const int mcu_height = 8 * (channels == 1 ? 1 : sac::vertical_factor(subsampling));
  const int rows = (height + mcu_height - 1) / mcu_height;
  const std::int64_t bytes = kernels.scratch_bytes(image, rows);
  sac::AlignedBuffer<std::uint8_t> scratch(bytes);
  for (std::int64_t i = 0; i < bytes; ++i) scratch.data()[i] = before[i % 2];
  kernels.band(image, 0, rows, scratch.data());
  return out;
}

inline bool does_not_matter(const sac::JpegKernels& kernels) {
  // As numbers of 16 bits: 0, the largest, the smallest, −1.
  constexpr std::uint8_t fills[][2] = {{0, 0}, {0xff, 0x7f}, {0, 0x80}, {0xff, 0xff}};
  for (const int width : {1, 2, 5, 16, 33, 64, 66, 67, 128, 130})
    for (const auto subsampling : {sac::Subsampling::s420, sac::Subsampling::s422, sac::Subsampling::s444})
      for (const int channels : {1, 3}) {
        const int height = 19;
        std::vector<std::uint8_t> pixels(static_cast<std::size_t>(height * width * channels));
        for (std::size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<std::uint8_t>(i * 7919 >> 3);
        const auto expected = roundtrip(kernels, pixels, height, width, channels, subsampling, fills[0]);
        for (const auto& fill : fills)
          if (roundtrip(kernels, pixels, height, width, channels, subsampling, fill) != expected) return false;
      }
  return true;
}

inline void jpeg_scratch_memory() {
  expectations::expect(does_not_matter(sac::jpeg_kernels_portable), "jpeg_scratch_memory: it matters (portable)");
#ifdef SAC_X86_64
  if (sac::has_instruction_set(sac::InstructionSet::avx2))
    expectations::expect(does_not_matter(sac::jpeg_kernels_avx2), "jpeg_scratch_memory: it matters (avx2)");
  if (sac::has_instruction_set(sac::InstructionSet::avx512))
    expectations::expect(does_not_matter(sac::jpeg_kernels_avx512), "jpeg_scratch_memory: it matters (avx512)");
#endif
}

}  // namespace jpeg_scratch
