// One line of a register tile: acc[r][v] ±= rows[r] · cols[v]. On x86-64 the loads and multiplications are assembly:
// left to itself the compiler reads columns several times, and with AVX2, where 12 sums, 3 vectors of columns and one
// row take all 16 registers, it keeps sums in memory.
#pragma once

#include "cpu/kernels/simd.h"

namespace sac {
namespace {

#if defined(__x86_64__) && defined(__FMA__) && SAC_VECTOR_BYTES == 32 && SAC_TILE_VECTORS == 3
#define SAC_LINE_IN_ASSEMBLY 4  // rows at a time

#define SAC_ADD_ROW(broadcast, multiply, at, sum)                                                  \
  broadcast " " at "(%[rows]), %%ymm12\n\t" multiply " %%ymm13, %%ymm12, %[" sum "0]\n\t" multiply \
            " %%ymm14, %%ymm12, %[" sum "1]\n\t" multiply " %%ymm15, %%ymm12, %[" sum "2]\n\t"
#define SAC_ADD_LINE(broadcast, multiply, row1, row2, row3)                                                         \
  __asm__(                                                                                                          \
      "vmovaps (%[cols]), %%ymm13\n\tvmovaps 32(%[cols]), %%ymm14\n\tvmovaps 64(%[cols]), %%ymm15\n\t" SAC_ADD_ROW( \
          broadcast, multiply, "0", "a") SAC_ADD_ROW(broadcast, multiply, row1, "b")                                \
          SAC_ADD_ROW(broadcast, multiply, row2, "c") SAC_ADD_ROW(broadcast, multiply, row3, "d")                   \
      : [a0] "+x"(a0), [a1] "+x"(a1), [a2] "+x"(a2), [b0] "+x"(b0), [b1] "+x"(b1), [b2] "+x"(b2), [c0] "+x"(c0),    \
        [c1] "+x"(c1), [c2] "+x"(c2), [d0] "+x"(d0), [d1] "+x"(d1), [d2] "+x"(d2)                                   \
      : [rows] "r"(rows), [cols] "r"(cols), "m"(*reinterpret_cast<const T(*)[4]>(rows)),                            \
        "m"(*reinterpret_cast<const T(*)[Shape<T>::width]>(cols))                                                   \
      : "xmm12", "xmm13", "xmm14", "xmm15")

template <typename T, int Rows, bool Add>
inline __attribute__((always_inline)) void add_line(const T* rows, const T* cols, Vector<T> (&acc)[Rows][3]) {
  static_assert(Rows == 4, "four rows of three vectors fill the registers");
  // variables of their own: an operand inside an array would stay in memory
  Vector<T> a0 = acc[0][0], a1 = acc[0][1], a2 = acc[0][2], b0 = acc[1][0], b1 = acc[1][1], b2 = acc[1][2];
  Vector<T> c0 = acc[2][0], c1 = acc[2][1], c2 = acc[2][2], d0 = acc[3][0], d1 = acc[3][1], d2 = acc[3][2];
  if constexpr (sizeof(T) == sizeof(float)) {
    if constexpr (Add)
      SAC_ADD_LINE("vbroadcastss", "vfmadd231ps", "4", "8", "12");
    else
      SAC_ADD_LINE("vbroadcastss", "vfnmadd231ps", "4", "8", "12");
  } else {
    if constexpr (Add)
      SAC_ADD_LINE("vbroadcastsd", "vfmadd231pd", "8", "16", "24");
    else
      SAC_ADD_LINE("vbroadcastsd", "vfnmadd231pd", "8", "16", "24");
  }
  acc[0][0] = a0, acc[0][1] = a1, acc[0][2] = a2, acc[1][0] = b0, acc[1][1] = b1, acc[1][2] = b2;
  acc[2][0] = c0, acc[2][1] = c1, acc[2][2] = c2, acc[3][0] = d0, acc[3][1] = d1, acc[3][2] = d2;
}

#elif defined(__x86_64__) && defined(__FMA__) && SAC_VECTOR_BYTES == 64 && SAC_TILE_VECTORS == 2
#define SAC_LINE_IN_ASSEMBLY 1

#define SAC_ADD_ROW(broadcast, multiply)                                            \
  __asm__(broadcast " %3, %2\n\t" multiply " %4, %2, %0\n\t" multiply " %5, %2, %1" \
          : "+v"(first), "+v"(second), "=&v"(row)                                   \
          : "m"(rows[r]), "v"(left), "v"(right))

template <typename T, int Rows, bool Add>
inline __attribute__((always_inline)) void add_line(const T* rows, const T* cols, Vector<T> (&acc)[Rows][2]) {
  // as assembly too, so that the compiler does not know that it could read them again
  Vector<T> left, right;
  __asm__("vmovaps %1, %0" : "=v"(left) : "m"(*reinterpret_cast<const Vector<T>*>(cols)));
  __asm__("vmovaps %1, %0" : "=v"(right) : "m"(*reinterpret_cast<const Vector<T>*>(cols + Shape<T>::lanes)));
#pragma GCC unroll 16
  for (int r = 0; r < Rows; ++r) {
    Vector<T> row, first = acc[r][0], second = acc[r][1];
    if constexpr (sizeof(T) == sizeof(float)) {
      if constexpr (Add)
        SAC_ADD_ROW("vbroadcastss", "vfmadd231ps");
      else
        SAC_ADD_ROW("vbroadcastss", "vfnmadd231ps");
    } else {
      if constexpr (Add)
        SAC_ADD_ROW("vbroadcastsd", "vfmadd231pd");
      else
        SAC_ADD_ROW("vbroadcastsd", "vfnmadd231pd");
    }
    acc[r][0] = first;
    acc[r][1] = second;
  }
}
#endif

// Long rows are summed in chunks, and chunks in runs, so that a product goes through 18 + 6 roundings, however long the
// row is. Where products are equal (constant rows, hard labels), every addition may round the same way: 24 of them are
// wrong by 12·2⁻²⁴ = 7e-7 at most. Rows of no more products are summed at once.
constexpr std::int64_t kChunk = 18, kChunksInRun = 6, kMaxAtOnce = kChunk + kChunksInRun;

template <typename T, int Rows, bool Add>
inline __attribute__((always_inline)) void rank_one(const T* rows, const T* cols,
                                                    Vector<T> (&acc)[Rows][SAC_TILE_VECTORS]) {
#ifdef SAC_LINE_IN_ASSEMBLY
  if constexpr (Rows % SAC_LINE_IN_ASSEMBLY == 0) {
    add_line<T, Rows, Add>(rows, cols, acc);
    return;
  }
#endif
  Vector<T> c[SAC_TILE_VECTORS];
#pragma GCC unroll 8
  for (int v = 0; v < SAC_TILE_VECTORS; ++v) c[v] = load<T>(cols + v * Shape<T>::lanes);
#pragma GCC unroll 16
  for (int r = 0; r < Rows; ++r) {
    const Vector<T> x = broadcast<T>(rows[r]);
#pragma GCC unroll 8
    for (int v = 0; v < SAC_TILE_VECTORS; ++v) {
      if (Add)
        acc[r][v] += x * c[v];
      else
        acc[r][v] -= x * c[v];
    }
  }
}

}  // namespace
}  // namespace sac
