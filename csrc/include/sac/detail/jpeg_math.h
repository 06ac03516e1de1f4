// The arithmetic of the JPEG round trip, shared by CPU and CUDA. `A` is the type of arithmetic: an int on a GPU
// (ScalarArithmetic below), a vector of 16-bit lanes on a CPU (cpu/kernels/jpeg_lanes.h). A provides
//   Word, Wide                  a sample or coefficient; a sum of products
//   madd(a, b, ca, cb)          a·ca + b·cb, |ca|, |cb| < 2^15
//   descale<s>(wide, bias)      (wide + bias) >> s
//   mulhi(a, b)                 a·b >> 16 of numbers in 0 … 65535
//
// Ranges, proven by tests/test_jpeg_ranges.py from the worst case of every sum (any pixels, any steps):
//   every Word fits 16 bits, so lanes of 16 bits lose nothing: −32768 … 32642 in the forward DCT (the sum of eight
//   pass-1 values), coefficients ≤ 8192, put back ≤ 1152, inverse DCT ≤ 7920 after pass 1 and ≤ 1850 after pass 2;
//   every Wide fits 32 bits: none reaches 2^29.
#pragma once

#include <cstdint>

#include "sac/detail/host_device.h"

namespace sac {

struct ScalarArithmetic {
  using Word = std::int32_t;
  using Wide = std::int32_t;
  SAC_HOST_DEVICE static Wide madd(Word a, Word b, int ca, int cb) { return a * ca + b * cb; }
  template <int Shift>
  SAC_HOST_DEVICE static Word descale(Wide x, int bias) {
    return (x + bias) >> Shift;
  }
  SAC_HOST_DEVICE static Word mulhi(Word a, Word b) {
    return static_cast<Word>((static_cast<std::uint32_t>(a) * static_cast<std::uint32_t>(b)) >> 16);
  }
};

// 2^13 · √2-normalised cosines, rounded: c(x) = round(x · 8192).
enum JpegCosine : int {
  k0_298 = 2446,   // 0.298631336
  k0_390 = 3196,   // 0.390180644
  k0_541 = 4433,   // 0.541196100
  k0_765 = 6270,   // 0.765366865
  k0_899 = 7373,   // 0.899976223
  k1_175 = 9633,   // 1.175875602
  k1_501 = 12299,  // 1.501321110
  k1_847 = 15137,  // 1.847759065
  k1_961 = 16069,  // 1.961570560
  k2_053 = 16819,  // 2.053119869
  k2_562 = 20995,  // 2.562915447
  k3_072 = 25172   // 3.072711026
};
constexpr int kCosineBits = 13, kPass1Bits = 2;

// RGB → YCbCr in 16-bit fixed point. 38470 = 22086 + 16384 and 32768 = 2 · 16384, so that factors fit 16 bits.
template <class A, class W = typename A::Word>
SAC_HOST_DEVICE inline W luma(W r, W g, W b) {
  return A::template descale<16>(A::madd(r, g, 19595, 22086) + A::madd(b, g, 7471, 16384), 1 << 15);
}
template <class A, class W = typename A::Word>
SAC_HOST_DEVICE inline W chroma_blue(W r, W g, W b) {
  return A::template descale<16>(A::madd(r, g, -11059, -21709) + A::madd(b, b, 16384, 16384), (128 << 16) + 32767);
}
template <class A, class W = typename A::Word>
SAC_HOST_DEVICE inline W chroma_red(W r, W g, W b) {
  return A::template descale<16>(A::madd(g, b, -27439, -5329) + A::madd(r, r, 16384, 16384), (128 << 16) + 32767);
}

// YCbCr → RGB, before clamping to 0 … 255; cb and cr less 128. 91881 = 2^16 + 26345, 116130 = 2^17 − 14942,
// 46802 = 2^16 − 18734, 22554: whole multiples of 2^16 pass through the shift.
template <class A, class W = typename A::Word>
SAC_HOST_DEVICE inline W red(W y, W cb, W cr) {
  return y + cr + A::template descale<16>(A::madd(cr, cb, 26345, 0), 1 << 15);
}
template <class A, class W = typename A::Word>
SAC_HOST_DEVICE inline W green(W y, W cb, W cr) {
  return y - cr + A::template descale<16>(A::madd(cr, cb, 18734, -22554), 1 << 15);
}
template <class A, class W = typename A::Word>
SAC_HOST_DEVICE inline W blue(W y, W cb, W cr) {
  return y + cb + cb + A::template descale<16>(A::madd(cr, cb, 0, -14942), 1 << 15);
}

// The odd half of the DCT is a 4 × 4 matrix, the same both ways but for the order of its rows.
template <class A, class W = typename A::Word>
struct OddPart {
  typename A::Wide r0, r1, r2, r3;
  SAC_HOST_DEVICE OddPart(W a, W b, W c, W d)
      : r0(A::madd(a, c, k0_298 - k0_899 - k1_961 + k1_175, k1_175 - k1_961) + A::madd(b, d, k1_175, k1_175 - k0_899)),
        r1(A::madd(a, c, k1_175, k1_175 - k2_562) + A::madd(b, d, k2_053 - k2_562 - k0_390 + k1_175, k1_175 - k0_390)),
        r2(A::madd(a, c, k1_175 - k1_961, k3_072 - k2_562 - k1_961 + k1_175) + A::madd(b, d, k1_175 - k2_562, k1_175)),
        r3(A::madd(a, c, k1_175 - k0_899, k1_175) + A::madd(b, d, k1_175 - k0_390, k1_501 - k0_899 - k0_390 + k1_175)) {
  }
};

// Eight samples to eight frequencies. Pass 1 (rows) leaves 2 bits more, pass 2 (columns) takes them away again: the
// result is 8 times the orthonormal DCT.
template <class A, int Pass, class W = typename A::Word>
SAC_HOST_DEVICE inline void forward_dct(W (&x)[8]) {
  constexpr int shift = Pass == 1 ? kCosineBits - kPass1Bits : kCosineBits + kPass1Bits;
  constexpr int bias = 1 << (shift - 1);
  const W s0 = x[0] + x[7], s1 = x[1] + x[6], s2 = x[2] + x[5], s3 = x[3] + x[4];
  const OddPart<A> odd(x[3] - x[4], x[2] - x[5], x[1] - x[6], x[0] - x[7]);
  const W even0 = s0 + s3, even1 = s1 + s2, d0 = s0 - s3, d1 = s1 - s2;
  if (Pass == 1) {
    x[0] = (even0 + even1) << kPass1Bits;
    x[4] = (even0 - even1) << kPass1Bits;
  } else {
    // −32768 … 32640, so the rounding bit still fits 16 bits: rows of pass 1 start with −4096 … 4064.
    x[0] = (even0 + even1 + (1 << (kPass1Bits - 1))) >> kPass1Bits;
    x[4] = (even0 - even1 + (1 << (kPass1Bits - 1))) >> kPass1Bits;
  }
  x[2] = A::template descale<shift>(A::madd(d1, d0, k0_541, k0_541 + k0_765), bias);
  x[6] = A::template descale<shift>(A::madd(d1, d0, k0_541 - k1_847, k0_541), bias);
  x[7] = A::template descale<shift>(odd.r0, bias);
  x[5] = A::template descale<shift>(odd.r1, bias);
  x[3] = A::template descale<shift>(odd.r2, bias);
  x[1] = A::template descale<shift>(odd.r3, bias);
}

// Eight frequencies to eight samples: pass 1 (columns) with 2 bits more, pass 2 (rows) down to samples less 128.
template <class A, int Pass, class W = typename A::Word>
SAC_HOST_DEVICE inline void inverse_dct(W (&x)[8]) {
  using Wide = typename A::Wide;
  constexpr int shift = Pass == 1 ? kCosineBits - kPass1Bits : kCosineBits + kPass1Bits + 3;
  constexpr int bias = 1 << (shift - 1), one = 1 << kCosineBits;
  const Wide sum = A::madd(x[0], x[4], one, one), difference = A::madd(x[0], x[4], one, -one);
  const Wide low = A::madd(x[2], x[6], k0_541 + k0_765, k0_541);
  const Wide high = A::madd(x[2], x[6], k0_541, k0_541 - k1_847);
  const Wide even0 = sum + low, even1 = difference + high, even2 = difference - high, even3 = sum - low;
  const OddPart<A> odd(x[7], x[5], x[3], x[1]);
  x[0] = A::template descale<shift>(even0 + odd.r3, bias);
  x[7] = A::template descale<shift>(even0 - odd.r3, bias);
  x[1] = A::template descale<shift>(even1 + odd.r2, bias);
  x[6] = A::template descale<shift>(even1 - odd.r2, bias);
  x[2] = A::template descale<shift>(even2 + odd.r1, bias);
  x[5] = A::template descale<shift>(even2 - odd.r1, bias);
  x[3] = A::template descale<shift>(even3 + odd.r0, bias);
  x[4] = A::template descale<shift>(even3 - odd.r0, bias);
}

// sign(x) · ((|x| + 4Q) / 8Q) · Q: quantised and put back. See jpeg_tables.h for the division.
template <class A, class W = typename A::Word>
SAC_HOST_DEVICE inline W requantise(W x, W step, W half, W reciprocal, W scale) {
  const W sign = x >> 15;
  const W n = ((x ^ sign) - sign + half) << 2;
  const W level = A::mulhi(A::mulhi(n, reciprocal), scale);
  return ((level * step) ^ sign) - sign;
}

// Chroma down: the mean of 2 × 2 (or 2 × 1) samples; the rounding takes turns from column to column, so that it
// does not drift: bias 1, 2, 1, 2, … (or 0, 1, 0, 1, …).
template <class W>
SAC_HOST_DEVICE inline W mean_of_4(W a, W b, W c, W d, W odd_column) {
  return (a + b + c + d + 1 + odd_column) >> 2;
}
template <class W>
SAC_HOST_DEVICE inline W mean_of_2(W a, W b, W odd_column) {
  return (a + b + odd_column) >> 1;
}

// Chroma up: a triangle filter, ¾ of the nearer and ¼ of the further sample, in each direction that was halved. At
// an edge the further sample is the nearer one again. `column` joins two rows; left and right are the two pixels
// that a sample covers.
template <class W>
SAC_HOST_DEVICE inline W column(W nearer, W further) {
  return nearer + nearer + nearer + further;
}
template <int Rows, class W>
SAC_HOST_DEVICE inline W left_pixel(W nearer, W further) {
  return Rows == 2 ? (column(nearer, further) + 8) >> 4 : (column(nearer, further) + 1) >> 2;
}
template <int Rows, class W>
SAC_HOST_DEVICE inline W right_pixel(W nearer, W further) {
  return Rows == 2 ? (column(nearer, further) + 7) >> 4 : (column(nearer, further) + 2) >> 2;
}

}  // namespace sac
