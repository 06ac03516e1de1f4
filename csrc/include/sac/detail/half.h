// float16 and bfloat16 by their bits, with conversions that round as the hardware does.
#pragma once

#include <cstdint>
#include <cstring>

#include "sac/detail/host_device.h"

#ifdef __CUDACC__
#include <cuda_fp16.h>
#endif

namespace sac {

struct Float16 {
  std::uint16_t bits;
};
struct BFloat16 {
  std::uint16_t bits;
};

// The bits of the nearest fp16 number, ties to even.
SAC_HOST_DEVICE inline std::uint16_t half_bits(float value) {
#ifdef __CUDA_ARCH__
  return __half_as_ushort(__float2half_rn(value));
#else
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  const std::uint32_t sign = bits >> 16 & 0x8000u;
  bits &= 0x7fffffffu;
  if (bits > 0x7f800000u) return static_cast<std::uint16_t>(sign | 0x7fffu);
  if (bits >= 0x47800000u) return static_cast<std::uint16_t>(sign | 0x7c00u);
  if (bits < 0x38800000u) {  // subnormal: added to ½, whose last place is 2^-24, the sum is rounded as it must be
    float magnitude;
    std::memcpy(&magnitude, &bits, sizeof magnitude);
    magnitude += 0.5f;
    std::memcpy(&bits, &magnitude, sizeof bits);
    return static_cast<std::uint16_t>(sign | (bits - 0x3f000000u));
  }
  bits += 0xfffu + (bits >> 13 & 1u);
  return static_cast<std::uint16_t>(sign | ((bits - 0x38000000u) >> 13));
#endif
}

SAC_HOST_DEVICE inline float half_value(std::uint16_t half) {
#ifdef __CUDA_ARCH__
  return __half2float(__ushort_as_half(half));
#else
  const std::uint32_t sign = (half & 0x8000u) << 16, rest = half & 0x7fffu;
  std::uint32_t bits;
  float value;
  if (rest < 0x400u) {
    value = static_cast<float>(rest) * 5.9604644775390625e-8f;  // 2^-24
    std::memcpy(&bits, &value, sizeof bits);
  } else {
    bits = rest >= 0x7c00u ? 0x7f800000u | (rest & 0x3ffu) << 13 : (rest << 13) + 0x38000000u;
  }
  bits |= sign;
  std::memcpy(&value, &bits, sizeof value);
  return value;
#endif
}

// Any number of a model's outputs as a float64, exactly.
SAC_HOST_DEVICE inline double widen(double x) { return x; }
SAC_HOST_DEVICE inline double widen(float x) { return static_cast<double>(x); }
SAC_HOST_DEVICE inline double widen(std::uint8_t x) { return x; }
SAC_HOST_DEVICE inline double widen(Float16 x) { return static_cast<double>(half_value(x.bits)); }
SAC_HOST_DEVICE inline double widen(BFloat16 x) {
  const std::uint32_t bits = static_cast<std::uint32_t>(x.bits) << 16;
  float value;
  memcpy(&value, &bits, sizeof value);
  return static_cast<double>(value);
}

}  // namespace sac
