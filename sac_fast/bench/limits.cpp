// Loops that never leave the registers: what one core of this machine can do at most. Compiled by limits.py with
// -march=native and VECTOR_BYTES, called through ctypes; no part of the package's own kernels.
#include <cstdint>
#if defined(__x86_64__)
#include <immintrin.h>
#define REGISTER "v"
#else
#define REGISTER "w"
#endif

typedef float Floats __attribute__((vector_size(VECTOR_BYTES)));
typedef std::int32_t Ints __attribute__((vector_size(VECTOR_BYTES)));

// As many independent sums as the register file holds beside their operands.
#define ROWS 4
#define COLS (VECTOR_BYTES == 64 ? 4 : 2)
#define LANES (VECTOR_BYTES / 4)

// The compiler must take the operands for new in each turn, or it would move the work out of the loop.
#define FRESH(x) __asm__ volatile("" : "+" REGISTER(x))

// Adds TERM of the operands a[i] and b[j] to the sums of a tile. NUMBER is what a lane holds, ANSWER one of a sum's.
#define LOOP(OPERAND, NUMBER, SUM, ANSWER, TERM)                                                                       \
  OPERAND a[ROWS], b[COLS];                                                                                            \
  SUM sums[ROWS][COLS];                                                                                                \
  _Pragma("GCC unroll 4") for (int i = 0; i < ROWS; ++i) a[i] = OPERAND{} + static_cast<NUMBER>(i);                    \
  _Pragma("GCC unroll 4") for (int j = 0; j < COLS; ++j) b[j] = OPERAND{} + static_cast<NUMBER>(3 * j + 1);            \
  _Pragma("GCC unroll 4") for (int i = 0; i < ROWS; ++i) _Pragma("GCC unroll 4") for (int j = 0; j < COLS; ++j)        \
      sums[i][j] = SUM{};                                                                                              \
  for (std::int64_t t = 0; t < turns; ++t) {                                                                           \
    _Pragma("GCC unroll 4") for (int j = 0; j < COLS; ++j) {                                                           \
      FRESH(b[j]);                                                                                                     \
      _Pragma("GCC unroll 4") for (int i = 0; i < ROWS; ++i) sums[i][j] += TERM;                                       \
    }                                                                                                                  \
  }                                                                                                                    \
  SUM sum{};                                                                                                           \
  _Pragma("GCC unroll 4") for (int i = 0; i < ROWS; ++i) _Pragma("GCC unroll 4") for (int j = 0; j < COLS; ++j) sum += \
      sums[i][j];                                                                                                      \
  ANSWER total = 0;                                                                                                    \
  for (std::size_t l = 0; l < VECTOR_BYTES / sizeof(ANSWER); ++l) total += sum[l];                                     \
  return static_cast<double>(total)

extern "C" std::int64_t differences_a_turn() { return ROWS * COLS * LANES; }

// Σ |a − b|: subtract, clear the sign, add
extern "C" double absolute_differences(std::int64_t turns) {
  const Ints magnitude = Ints{} + INT32_C(0x7fffffff);
  LOOP(Floats, float, Floats, float, (Floats)((Ints)(a[i] - b[j]) & magnitude));
}

// Σ min(a, b) of fixed-point numbers, from which Σ |a − b| = Σ a + Σ b − 2 Σ min(a, b)
extern "C" double minima(std::int64_t turns) {
  LOOP(Ints, std::int32_t, Ints, std::int32_t, a[i] < b[j] ? a[i] : b[j]);
}

// Σ |a − b| of bytes by the machine's instruction for it
#if (VECTOR_BYTES == 64 && defined(__AVX512BW__)) || (VECTOR_BYTES == 32 && defined(__AVX2__))
typedef std::uint8_t Bytes __attribute__((vector_size(VECTOR_BYTES)));
typedef std::int64_t ByteSums __attribute__((vector_size(VECTOR_BYTES)));

static inline ByteSums byte_distance(Bytes a, Bytes b) {
#if VECTOR_BYTES == 64
  return (ByteSums)_mm512_sad_epu8((__m512i)a, (__m512i)b);
#else
  return (ByteSums)_mm256_sad_epu8((__m256i)a, (__m256i)b);
#endif
}

extern "C" std::int64_t byte_differences_a_turn() { return ROWS * COLS * VECTOR_BYTES; }

extern "C" double byte_differences(std::int64_t turns) {
  LOOP(Bytes, std::uint8_t, ByteSums, std::int64_t, byte_distance(a[i], b[j]));
}
#else
extern "C" std::int64_t byte_differences_a_turn() { return 0; }
extern "C" double byte_differences(std::int64_t turns) { return static_cast<double>(turns); }
#endif

// A chain of dependent multiplications, three cycles each on every x86-64 processor of the last ten years.
extern "C" std::int64_t cycles_a_turn() {
#if defined(__x86_64__)
  return 24;
#else
  return 0;
#endif
}

extern "C" double cycles(std::int64_t turns) {
  std::int64_t x = turns | 1;
#if defined(__x86_64__)
  for (std::int64_t t = 0; t < turns; ++t)
    __asm__ volatile(
        "imul %0, %0\n imul %0, %0\n imul %0, %0\n imul %0, %0\n"
        "imul %0, %0\n imul %0, %0\n imul %0, %0\n imul %0, %0\n"
        : "+r"(x));
#endif
  return static_cast<double>(x);
}
