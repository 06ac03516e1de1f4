// The CPU's type of arithmetic for sac/detail/jpeg_math.h: a vector of SAC_VECTOR_BYTES / 2 lanes of 16 bits. Included
// by one source file for each instruction set, which sets SAC_VECTOR_BYTES to 16, 32 or 64.
//
// A Wide is two vectors of 32-bit lanes, in an order of the instruction set (x86 interleaves each 128 bits);
// descale() undoes that order. It saturates on x86, which never happens: jpeg_math.h has the ranges.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__SSE2__)
#include <immintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

namespace sac {
namespace {

constexpr int kLanes = SAC_VECTOR_BYTES / 2;
typedef std::int16_t Lanes __attribute__((vector_size(SAC_VECTOR_BYTES)));
typedef std::uint16_t UnsignedLanes __attribute__((vector_size(SAC_VECTOR_BYTES)));
typedef std::int32_t WideLanes __attribute__((vector_size(SAC_VECTOR_BYTES)));
typedef std::uint8_t Bytes __attribute__((vector_size(SAC_VECTOR_BYTES / 2)));

#if SAC_VECTOR_BYTES == 64
#define SAC_X86(name) _mm512_##name
#define SAC_REGISTER __m512i
#elif SAC_VECTOR_BYTES == 32
#define SAC_X86(name) _mm256_##name
#define SAC_REGISTER __m256i
#else
#define SAC_X86(name) _mm_##name
#define SAC_REGISTER __m128i
#endif

#define SAC_INLINE inline __attribute__((always_inline))

template <class V>
SAC_INLINE V load_as(const void* from) {
  V v;
  std::memcpy(&v, from, sizeof v);
  return v;
}
template <class V>
SAC_INLINE void store_as(void* to, V v) {
  std::memcpy(to, &v, sizeof v);
}

SAC_INLINE Lanes widen(Bytes b) { return (Lanes) __builtin_convertvector(b, UnsignedLanes); }
SAC_INLINE Lanes load_bytes(const std::uint8_t* from) { return widen(load_as<Bytes>(from)); }

// Lanes clamped to 0 … 255.
SAC_INLINE Bytes clamped(Lanes v) {
#if SAC_VECTOR_BYTES == 64
  return (Bytes)_mm512_cvtusepi16_epi8(_mm512_max_epi16((__m512i)v, _mm512_setzero_si512()));
#elif SAC_VECTOR_BYTES == 32
  const __m256i packed = _mm256_packus_epi16((__m256i)v, (__m256i)v);
  return (Bytes)_mm256_castsi256_si128(_mm256_permute4x64_epi64(packed, 0x08));
#elif defined(__SSE2__)
  const __m128i packed = _mm_packus_epi16((__m128i)v, (__m128i)v);
  return load_as<Bytes>(&packed);
#else
  const Lanes positive = v & ~(v >> 15), most = Lanes{} + 255;
  return __builtin_convertvector(positive < most ? positive : most, Bytes);
#endif
}

#if defined(__SSE2__)
template <bool High>
SAC_INLINE Lanes interleave(Lanes a, Lanes b) {
  const SAC_REGISTER x = (SAC_REGISTER)a, y = (SAC_REGISTER)b;
  return High ? (Lanes)SAC_X86(unpackhi_epi16)(x, y) : (Lanes)SAC_X86(unpacklo_epi16)(x, y);
}
template <bool High>
SAC_INLINE Lanes interleave_2(Lanes a, Lanes b) {
  const SAC_REGISTER x = (SAC_REGISTER)a, y = (SAC_REGISTER)b;
  return High ? (Lanes)SAC_X86(unpackhi_epi32)(x, y) : (Lanes)SAC_X86(unpacklo_epi32)(x, y);
}
template <bool High>
SAC_INLINE Lanes interleave_4(Lanes a, Lanes b) {
  const SAC_REGISTER x = (SAC_REGISTER)a, y = (SAC_REGISTER)b;
  return High ? (Lanes)SAC_X86(unpackhi_epi64)(x, y) : (Lanes)SAC_X86(unpacklo_epi64)(x, y);
}
#else
template <bool High>
SAC_INLINE Lanes interleave(Lanes a, Lanes b) {
  return High ? __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15)
              : __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11);
}
template <bool High>
SAC_INLINE Lanes interleave_2(Lanes a, Lanes b) {
  return High ? __builtin_shufflevector(a, b, 4, 5, 12, 13, 6, 7, 14, 15)
              : __builtin_shufflevector(a, b, 0, 1, 8, 9, 2, 3, 10, 11);
}
template <bool High>
SAC_INLINE Lanes interleave_4(Lanes a, Lanes b) {
  return High ? __builtin_shufflevector(a, b, 4, 5, 6, 7, 12, 13, 14, 15)
              : __builtin_shufflevector(a, b, 0, 1, 2, 3, 8, 9, 10, 11);
}
#endif

// Each 8 × 8 square of lanes (8 vectors, 128 bits of each) is transposed.
SAC_INLINE void transpose(Lanes (&x)[8]) {
  Lanes a[8], b[8];
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    a[2 * i] = interleave<false>(x[2 * i], x[2 * i + 1]);
    a[2 * i + 1] = interleave<true>(x[2 * i], x[2 * i + 1]);
  }
#pragma GCC unroll 2
  for (int i = 0; i < 8; i += 4) {
    b[i] = interleave_2<false>(a[i], a[i + 2]);
    b[i + 1] = interleave_2<true>(a[i], a[i + 2]);
    b[i + 2] = interleave_2<false>(a[i + 1], a[i + 3]);
    b[i + 3] = interleave_2<true>(a[i + 1], a[i + 3]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    x[2 * i] = interleave_4<false>(b[i], b[i + 4]);
    x[2 * i + 1] = interleave_4<true>(b[i], b[i + 4]);
  }
}

struct WidePair {
  WideLanes low, high;
};
SAC_INLINE WidePair operator+(WidePair a, WidePair b) { return {a.low + b.low, a.high + b.high}; }
SAC_INLINE WidePair operator-(WidePair a, WidePair b) { return {a.low - b.low, a.high - b.high}; }

struct LaneArithmetic {
  using Word = Lanes;
  using Wide = WidePair;

#if defined(__SSE2__)
  static SAC_INLINE Wide madd(Word a, Word b, int ca, int cb) {
    const SAC_REGISTER c = SAC_X86(set1_epi32)(cb * 65536 + (ca & 0xffff));
    return {(WideLanes)SAC_X86(madd_epi16)((SAC_REGISTER)interleave<false>(a, b), c),
            (WideLanes)SAC_X86(madd_epi16)((SAC_REGISTER)interleave<true>(a, b), c)};
  }
  template <int Shift>
  static SAC_INLINE Word descale(Wide x, int bias) {
    const WideLanes low = (x.low + bias) >> Shift, high = (x.high + bias) >> Shift;
    return (Word)SAC_X86(packs_epi32)((SAC_REGISTER)low, (SAC_REGISTER)high);
  }
  static SAC_INLINE Word mulhi(Word a, Word b) { return (Word)SAC_X86(mulhi_epu16)((SAC_REGISTER)a, (SAC_REGISTER)b); }
#else
  typedef std::int16_t Half __attribute__((vector_size(8)));
  static SAC_INLINE WideLanes half(Word a, bool high) {
    const Half low_half = __builtin_shufflevector(a, a, 0, 1, 2, 3);
    const Half high_half = __builtin_shufflevector(a, a, 4, 5, 6, 7);
    return __builtin_convertvector(high ? high_half : low_half, WideLanes);
  }
  static SAC_INLINE Wide madd(Word a, Word b, int ca, int cb) {
    return {half(a, false) * ca + half(b, false) * cb, half(a, true) * ca + half(b, true) * cb};
  }
  template <int Shift>
  static SAC_INLINE Word descale(Wide x, int bias) {
    const WideLanes low = (x.low + bias) >> Shift, high = (x.high + bias) >> Shift;
    return __builtin_shufflevector((Word)low, (Word)high, 0, 2, 4, 6, 8, 10, 12, 14);
  }
  static SAC_INLINE Word mulhi(Word a, Word b) {
    const WideLanes mask = WideLanes{} + 0xffff;
    const auto product = [&](bool high) {
      typedef std::uint32_t Unsigned __attribute__((vector_size(16)));
      return (WideLanes)(((Unsigned)(half(a, high) & mask) * (Unsigned)(half(b, high) & mask)) >> 16);
    };
    return __builtin_shufflevector((Word)product(false), (Word)product(true), 0, 2, 4, 6, 8, 10, 12, 14);
  }
#endif
};

// One row of a table (8 numbers) over all blocks of a vector.
template <class T>
SAC_INLINE Lanes repeat_8(const T* row) {
#if SAC_VECTOR_BYTES == 64
  return (Lanes)_mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(row)));
#elif SAC_VECTOR_BYTES == 32
  return (Lanes)_mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(row)));
#else
  return load_as<Lanes>(row);
#endif
}

}  // namespace
}  // namespace sac
