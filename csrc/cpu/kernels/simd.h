// Compiler vectors and register tiles. Included by one source file for each instruction set, which sets
// SAC_VECTOR_BYTES, SAC_TILE_ROWS and SAC_TILE_VECTORS. Everything is in an unnamed namespace and uses no
// library template: code compiled for a newer processor must not be shared with the other files by the linker.
#pragma once

#include "cpu/kernels/correlation.h"

namespace sac {
namespace {

template <typename T, int Lanes = SAC_VECTOR_BYTES / sizeof(T)>
struct VectorOf {
  typedef T type __attribute__((vector_size(Lanes * sizeof(T))));
};
template <typename T>
using Vector = typename VectorOf<T>::type;

template <typename T>
struct BitsOf;
template <>
struct BitsOf<float> {
  using Int = std::int32_t;
  static constexpr Int without_sign = 0x7fffffff;
  static constexpr int mantissa = 23;
  static constexpr float round_magic = 12582912.0f;  // 1.5·2^23: adding it rounds to an integer
  static constexpr float lowest_exponent = -86.0f;   // exp(x) is still a normal number
  static constexpr float ln2_high = 0.693359375f, ln2_low = -2.12194440e-4f;
  static constexpr int taylor = 7;  // 0.347^8 / 8! = 5e-9, below float32's half ulp
};
template <>
struct BitsOf<std::int64_t> {
  using Int = std::int64_t;
};
template <>
struct BitsOf<double> {
  using Int = std::int64_t;
  static constexpr Int without_sign = 0x7fffffffffffffff;
  static constexpr int mantissa = 52;
  static constexpr double round_magic = 6755399441055744.0;  // 1.5·2^52
  static constexpr double lowest_exponent = -700.0;
  static constexpr double ln2_high = 0.693145751953125, ln2_low = 1.42860682030941723212e-6;
  static constexpr int taylor = 13;  // 0.347^14 / 14! = 4e-18
};

template <typename T>
struct Shape {
  static constexpr int lanes = SAC_VECTOR_BYTES / sizeof(T);
  static constexpr int vectors = SAC_TILE_VECTORS;
  static constexpr int width = lanes * vectors;
};

// A vector that is used several times. The compiler would read it from memory for each use, on ports that others need.
template <typename V>
inline __attribute__((always_inline)) void keep_in_register(V& vector) {
#if defined(__x86_64__) && SAC_VECTOR_BYTES == 64
  __asm__("" : "+v"(vector));
#elif defined(__x86_64__)
  __asm__("" : "+x"(vector));
#elif defined(__aarch64__)
  __asm__("" : "+w"(vector));
#else
  (void)vector;
#endif
}

// The same beside accumulators that fill the 16 registers of AVX2: there it would push one of them out.
template <typename V>
inline __attribute__((always_inline)) void keep_if_room(V& vector) {
  if constexpr (SAC_VECTOR_BYTES == 64) keep_in_register(vector);
}

// All lanes x. To the compiler x − 0 is x; 0 + x is an addition, since −0 + 0 is 0.
template <typename T>
inline __attribute__((always_inline)) Vector<T> broadcast(T x) {
  return x - Vector<T>{};
}

template <typename T>
inline Vector<T> absolute(Vector<T> v) {
  using Int = typename BitsOf<T>::Int;
  return (Vector<T>)((Vector<Int>)v & BitsOf<T>::without_sign);
}

// exp for arguments ≤ 0: 2^m · taylor(r), |r| ≤ ln2/2.
template <typename T>
inline Vector<T> exp_of_negative(Vector<T> x) {
  using B = BitsOf<T>;
  using Int = typename B::Int;
  const Vector<T> low = Vector<T>{} + B::lowest_exponent;
  x = x > low ? x : low;
  const Vector<T> shifted = x * static_cast<T>(1.44269504088896340736) + B::round_magic;
  const Vector<T> m = shifted - B::round_magic;
  const Vector<T> r = (x - m * B::ln2_high) - m * B::ln2_low;
  Vector<T> sum = Vector<T>{} + static_cast<T>(1);
#pragma GCC unroll 16
  for (int i = B::taylor; i >= 1; --i) sum = sum * (r * (static_cast<T>(1) / i)) + static_cast<T>(1);
  const Vector<Int> magic = (Vector<Int>)(Vector<T>{} + B::round_magic);
  return (Vector<T>)((Vector<Int>)sum + (((Vector<Int>)shifted - magic) << B::mantissa));
}

template <typename T>
inline Vector<T> load(const T* p) {
  return *reinterpret_cast<const Vector<T>*>(p);
}

template <typename T, int Rows>
inline __attribute__((always_inline)) void clear(Vector<T> (&acc)[Rows][SAC_TILE_VECTORS]) {
#pragma GCC unroll 16
  for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < SAC_TILE_VECTORS; ++v) acc[r][v] = Vector<T>{};
}

template <typename T, int Rows>
inline __attribute__((always_inline)) void add_to(Vector<T> (&total)[Rows][SAC_TILE_VECTORS],
                                                  const Vector<T> (&acc)[Rows][SAC_TILE_VECTORS]) {
#pragma GCC unroll 16
  for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < SAC_TILE_VECTORS; ++v) total[r][v] += acc[r][v];
}

// The tile of Rows × width at p, of numbers that lie row by row.
template <typename T, int Rows>
inline __attribute__((always_inline)) Vector<T> (&tile_at(T* p))
    [Rows][SAC_TILE_VECTORS] { return *reinterpret_cast<Vector<T>(*)[Rows][SAC_TILE_VECTORS]>(p); }

template <typename T, int Rows>
inline __attribute__((always_inline)) void copy(const Vector<T> (&from)[Rows][SAC_TILE_VECTORS],
                                                Vector<T> (&to)[Rows][SAC_TILE_VECTORS]) {
#pragma GCC unroll 16
  for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < SAC_TILE_VECTORS; ++v) to[r][v] = from[r][v];
}

// Adds acc to total and leaves the rounding error in acc, where the next sum starts (compensated summation): the error
// does not grow with the number of calls.
template <typename T, int Rows>
inline __attribute__((always_inline)) void add_compensated(Vector<T> (&total)[Rows][SAC_TILE_VECTORS],
                                                           Vector<T> (&acc)[Rows][SAC_TILE_VECTORS]) {
#pragma GCC unroll 16
  for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < SAC_TILE_VECTORS; ++v) {
      const Vector<T> next = total[r][v] + acc[r][v];
      acc[r][v] -= next - total[r][v];
      total[r][v] = next;
    }
}

// The sum of all lanes, as a tree: lane i and lane i + Lanes / 2, and so on.
template <typename T, int Lanes = Shape<T>::lanes>
inline __attribute__((always_inline)) T reduce_add(typename VectorOf<T, Lanes>::type v) {
  if constexpr (Lanes == 1) {
    return v[0];
  } else {
    typename VectorOf<T, Lanes / 2>::type low, high;
    __builtin_memcpy(&low, &v, sizeof low);
    __builtin_memcpy(&high, reinterpret_cast<const char*>(&v) + sizeof low, sizeof high);
    return reduce_add<T, Lanes / 2>(low + high);
  }
}

// exp(−max(0, |x̂_i|² + |x̂_j|² − 2 x̂_i·x̂_j) / 2σ²)
template <typename T>
inline Vector<T> rbf_of(Vector<T> dot, T norm_row, Vector<T> norm_col, T inverse_bandwidth) {
  Vector<T> squared = norm_col + norm_row - static_cast<T>(2) * dot;
  squared = squared > Vector<T>{} ? squared : Vector<T>{};
  return exp_of_negative<T>(squared * -inverse_bandwidth);
}

}  // namespace
}  // namespace sac
