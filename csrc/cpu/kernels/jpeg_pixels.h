// Interleaved RGB bytes to three vectors and back: kLanes pixels, 3 · kLanes bytes. See jpeg_lanes.h.
#pragma once

#include "cpu/kernels/jpeg_lanes.h"

namespace sac {
namespace {

struct Pixels {
  Lanes r, g, b;
};

#if SAC_VECTOR_BYTES >= 32

// Byte shuffles of 16 pixels (48 bytes, 3 vectors). split[channel][vector]: where the channel's samples lie;
// join[vector][channel]: which samples go there. 0x80 leaves a zero, so the three results are or-ed.
struct ByteShuffles {
  alignas(16) std::uint8_t split[3][3][16];
  alignas(16) std::uint8_t join[3][3][16];
};
constexpr ByteShuffles byte_shuffles() {
  ByteShuffles s{};
  for (int channel = 0; channel < 3; ++channel)
    for (int vector = 0; vector < 3; ++vector)
      for (int i = 0; i < 16; ++i) {
        const int from = 3 * i + channel - 16 * vector, to = 16 * vector + i;
        s.split[channel][vector][i] = from >= 0 && from < 16 ? from : 0x80;
        s.join[vector][channel][i] = to % 3 == channel ? to / 3 : 0x80;
      }
  return s;
}
constexpr ByteShuffles kShuffles = byte_shuffles();

// A part is 16 pixels in 128 bits; 64-byte vectors take two parts side by side in 256 bits.
#if SAC_VECTOR_BYTES == 64
typedef __m256i Part;
SAC_INLINE Part load_part(const std::uint8_t* from) {
  return _mm256_inserti128_si256(_mm256_castsi128_si256(load_as<__m128i>(from)), load_as<__m128i>(from + 48), 1);
}
SAC_INLINE void store_part(std::uint8_t* to, Part p) {
  store_as(to, _mm256_castsi256_si128(p));
  store_as(to + 48, _mm256_extracti128_si256(p, 1));
}
SAC_INLINE Part shuffle(Part p, const std::uint8_t* by) {
  return _mm256_shuffle_epi8(p, _mm256_broadcastsi128_si256(load_as<__m128i>(by)));
}
SAC_INLINE Part either(Part a, Part b, Part c) { return _mm256_or_si256(_mm256_or_si256(a, b), c); }
#else
typedef __m128i Part;
SAC_INLINE Part load_part(const std::uint8_t* from) { return load_as<__m128i>(from); }
SAC_INLINE void store_part(std::uint8_t* to, Part p) { store_as(to, p); }
SAC_INLINE Part shuffle(Part p, const std::uint8_t* by) { return _mm_shuffle_epi8(p, load_as<__m128i>(by)); }
SAC_INLINE Part either(Part a, Part b, Part c) { return _mm_or_si128(_mm_or_si128(a, b), c); }
#endif

SAC_INLINE Part merged(Part a, Part b, Part c, const std::uint8_t (&by)[3][16]) {
  return either(shuffle(a, by[0]), shuffle(b, by[1]), shuffle(c, by[2]));
}

SAC_INLINE Pixels load_pixels(const std::uint8_t* rgb) {
  const Part a = load_part(rgb), b = load_part(rgb + 16), c = load_part(rgb + 32);
  return {widen((Bytes)merged(a, b, c, kShuffles.split[0])), widen((Bytes)merged(a, b, c, kShuffles.split[1])),
          widen((Bytes)merged(a, b, c, kShuffles.split[2]))};
}

SAC_INLINE void store_pixels(std::uint8_t* rgb, Pixels p) {
  const Part r = (Part)clamped(p.r), g = (Part)clamped(p.g), b = (Part)clamped(p.b);
  store_part(rgb, merged(r, g, b, kShuffles.join[0]));
  store_part(rgb + 16, merged(r, g, b, kShuffles.join[1]));
  store_part(rgb + 32, merged(r, g, b, kShuffles.join[2]));
}

#elif defined(__ARM_NEON)

SAC_INLINE Pixels load_pixels(const std::uint8_t* rgb) {
  const uint8x8x3_t p = vld3_u8(rgb);
  return {widen((Bytes)p.val[0]), widen((Bytes)p.val[1]), widen((Bytes)p.val[2])};
}
SAC_INLINE void store_pixels(std::uint8_t* rgb, Pixels p) {
  const uint8x8x3_t bytes = {{(uint8x8_t)clamped(p.r), (uint8x8_t)clamped(p.g), (uint8x8_t)clamped(p.b)}};
  vst3_u8(rgb, bytes);  // a macro in some compilers: no braces in its arguments
}

#else

SAC_INLINE Pixels load_pixels(const std::uint8_t* rgb) {
  Bytes r, g, b;
  for (int i = 0; i < kLanes; ++i) r[i] = rgb[3 * i], g[i] = rgb[3 * i + 1], b[i] = rgb[3 * i + 2];
  return {widen(r), widen(g), widen(b)};
}
SAC_INLINE void store_pixels(std::uint8_t* rgb, Pixels p) {
  const Bytes r = clamped(p.r), g = clamped(p.g), b = clamped(p.b);
  for (int i = 0; i < kLanes; ++i) rgb[3 * i] = r[i], rgb[3 * i + 1] = g[i], rgb[3 * i + 2] = b[i];
}

#endif

}  // namespace
}  // namespace sac
