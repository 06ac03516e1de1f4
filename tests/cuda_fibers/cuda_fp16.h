// Pairs of float16, each operation rounded once, as the hardware does.
#pragma once

#include <cuda_runtime.h>

struct float2 {
  float x, y;
};
struct __half2 {
  _Float16 x, y;
};

inline __half2 __hadd2(__half2 a, __half2 b) {
  return {static_cast<_Float16>(a.x + b.x), static_cast<_Float16>(a.y + b.y)};
}
inline __half2 __hsub2(__half2 a, __half2 b) {
  return {static_cast<_Float16>(a.x - b.x), static_cast<_Float16>(a.y - b.y)};
}
inline __half2 __habs2(__half2 a) { return {a.x < 0 ? -a.x : a.x, a.y < 0 ? -a.y : a.y}; }
inline float2 __half22float2(__half2 a) { return {static_cast<float>(a.x), static_cast<float>(a.y)}; }
