// A band of an image: colour conversion and downsampling of chroma to planes, DCT round trip of the planes' blocks in
// place, upsampling and colour conversion back. Planes are bytes; rows are padded to whole vectors. Included by one
// source file for each instruction set, which sets SAC_VECTOR_BYTES. Everything is in an unnamed namespace and uses no
// library template: code compiled for a newer processor must not be shared with the other files by the linker.
#pragma once

#include "cpu/kernels/jpeg.h"
#include "cpu/kernels/jpeg_pixels.h"
#include "sac/detail/jpeg_math.h"

namespace sac {
namespace {

using A = LaneArithmetic;

SAC_INLINE int minimum(int a, int b) { return a < b ? a : b; }
SAC_INLINE std::int64_t padded(std::int64_t width) { return (width + kLanes - 1) / kLanes * kLanes; }

// Sizes and scratch memory of the band first … last − 1.
struct Planes {
  int h, v;                       // pixels that a chroma sample covers
  int first, last;                // MCU rows of luma
  int chroma_first, chroma_last;  // with the neighbours that the upsampling of 4:2:0 reads
  int chroma_width, chroma_height;
  std::int64_t luma_stride, chroma_stride, row;  // row: bytes of a chroma row at full resolution
  std::uint8_t *luma, *chroma[2], *rows[4];
  std::int16_t* sums;
  std::int64_t bytes;

  Planes(const JpegImage& image, int first_row, int last_row, std::uint8_t* scratch)
      : h(image.channels == 1 ? 1 : horizontal_factor(image.subsampling)),
        v(image.channels == 1 ? 1 : vertical_factor(image.subsampling)),
        first(first_row),
        last(last_row) {
    const int mcu_rows = (image.height + 8 * v - 1) / (8 * v);
    chroma_first = v == 2 && first > 0 ? first - 1 : first;
    chroma_last = v == 2 && last < mcu_rows ? last + 1 : last;
    chroma_width = (image.width + h - 1) / h;
    chroma_height = (image.height + v - 1) / v;
    luma_stride = padded(image.width);
    chroma_stride = padded(chroma_width);
    row = h * chroma_stride;
    const std::int64_t chroma_rows = image.channels == 1 ? 0 : 8 * (chroma_last - chroma_first);
    bytes = 0;
    const auto allocate = [&](std::int64_t size) {
      std::uint8_t* const start = scratch ? scratch + bytes : nullptr;
      bytes += (size + 63) & ~std::int64_t{63};
      return start;
    };
    luma = allocate(8 * v * (last - first) * luma_stride);
    for (auto& plane : chroma) plane = allocate(chroma_rows * chroma_stride);
    for (auto& r : rows) r = allocate(row);
    sums = reinterpret_cast<std::int16_t*>(allocate(2 * (chroma_stride + 2 * kLanes)));
  }
};

// ---- pixels to planes

SAC_INLINE void split_pixels(const std::uint8_t* rgb, std::uint8_t* y, std::uint8_t* cb, std::uint8_t* cr) {
  const Pixels p = load_pixels(rgb);
  if (y) store_as(y, clamped(luma<A>(p.r, p.g, p.b)));
  store_as(cb, clamped(chroma_blue<A>(p.r, p.g, p.b)));
  store_as(cr, clamped(chroma_red<A>(p.r, p.g, p.b)));
}

// A row of pixels to luma (null: chroma only) and chroma at full resolution, the right edge
// replicated up to `row` bytes of chroma.
inline void split_row(const std::uint8_t* rgb, int width, std::uint8_t* y, std::uint8_t* cb, std::uint8_t* cr,
                      std::int64_t row) {
  int x = 0;
  for (; x + kLanes <= width; x += kLanes) split_pixels(rgb + 3 * x, y ? y + x : nullptr, cb + x, cr + x);
  if (x < width) {
    alignas(64) std::uint8_t rest[3 * kLanes];
    for (int i = 0; i < kLanes; ++i) std::memcpy(rest + 3 * i, rgb + 3 * minimum(x + i, width - 1), 3);
    split_pixels(rest, y ? y + x : nullptr, cb + x, cr + x);
    x += kLanes;
  }
  if (x < row) {
    std::memset(cb + x, cb[width - 1], row - x);
    std::memset(cr + x, cr[width - 1], row - x);
  }
}

SAC_INLINE Lanes even_bytes(Lanes v) { return v & 255; }
SAC_INLINE Lanes odd_bytes(Lanes v) { return (Lanes)((UnsignedLanes)v >> 8); }
SAC_INLINE Lanes odd_columns() { return (Lanes)((WideLanes{} + 1) << 16); }  // 0, 1, 0, 1, … (little endian)

inline void downsample_rows(const std::uint8_t* top, const std::uint8_t* bottom, std::uint8_t* to, std::int64_t width) {
  for (std::int64_t x = 0; x < width; x += kLanes) {
    const Lanes a = load_as<Lanes>(top + 2 * x);
    Lanes mean;
    if (bottom) {
      const Lanes b = load_as<Lanes>(bottom + 2 * x);
      mean = mean_of_4(even_bytes(a), odd_bytes(a), even_bytes(b), odd_bytes(b), odd_columns());
    } else {
      mean = mean_of_2(even_bytes(a), odd_bytes(a), odd_columns());
    }
    store_as(to + x, clamped(mean));
  }
}

// Chroma row `c` (of the image) and the luma rows over it.
inline void fill_row(const JpegImage& image, const Planes& p, int c) {
  const std::int64_t to = (c - 8 * p.chroma_first) * p.chroma_stride;
  const bool with_luma = c >= 8 * p.first && c < 8 * p.last;
  const std::int64_t above = static_cast<std::int64_t>(c - 8 * p.first) * p.v * p.luma_stride;
  std::uint8_t* const y = with_luma ? p.luma + above : nullptr;
  if (c >= p.chroma_height) {
    for (int k = 0; k < 2; ++k) std::memcpy(p.chroma[k] + to, p.chroma[k] + to - p.chroma_stride, p.chroma_stride);
    for (int i = 0; with_luma && i < p.v; ++i) std::memcpy(y + i * p.luma_stride, y - p.luma_stride, p.luma_stride);
    return;
  }
  for (int i = 0; i < p.v; ++i) {
    const std::int64_t source = minimum(c * p.v + i, image.height - 1);
    std::uint8_t* const cb = p.h == 1 ? p.chroma[0] + to : p.rows[i];
    std::uint8_t* const cr = p.h == 1 ? p.chroma[1] + to : p.rows[2 + i];
    split_row(image.in + source * image.width * 3, image.width, with_luma ? y + i * p.luma_stride : nullptr, cb, cr,
              p.row);
  }
  if (p.h == 2)
    for (int k = 0; k < 2; ++k)
      downsample_rows(p.rows[2 * k], p.v == 2 ? p.rows[2 * k + 1] : nullptr, p.chroma[k] + to, p.chroma_stride);
}

inline void fill_gray(const JpegImage& image, const Planes& p) {
  for (int r = 8 * p.first; r < 8 * p.last; ++r) {
    const std::uint8_t* from = image.in + static_cast<std::int64_t>(minimum(r, image.height - 1)) * image.width;
    std::uint8_t* to = p.luma + (r - 8 * p.first) * p.luma_stride;
    std::memcpy(to, from, image.width);
    std::memset(to + image.width, from[image.width - 1], p.luma_stride - image.width);
  }
}

// ---- blocks

// DCT round trip in place of 8 rows of kLanes samples, kLanes / 8 blocks.
SAC_INLINE void roundtrip_blocks(std::uint8_t* at, std::int64_t stride, const JpegTable& table) {
  Lanes x[8];
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) x[i] = load_bytes(at + i * stride) - 128;
  transpose(x);
  forward_dct<A, 1>(x);
  transpose(x);
  forward_dct<A, 2>(x);
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i)
    x[i] = requantise<A>(x[i], repeat_8(table.step + 8 * i), repeat_8(table.half + 8 * i),
                         repeat_8(table.reciprocal + 8 * i), repeat_8(table.scale + 8 * i));
  inverse_dct<A, 1>(x);
  transpose(x);
  inverse_dct<A, 2>(x);
  transpose(x);
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) store_as(at + i * stride, clamped(x[i] + 128));
}

inline void roundtrip_plane(std::uint8_t* plane, int rows, std::int64_t stride, const JpegTable& table) {
  for (int r = 0; r < rows; r += 8)
    for (std::int64_t x = 0; x < stride; x += kLanes) roundtrip_blocks(plane + r * stride + x, stride, table);
}

// ---- planes to pixels

// A chroma row at full resolution. nearer and further: the sample rows on both sides (4:2:0), else the same row.
template <int Rows>
inline void upsample_row(const std::uint8_t* nearer, const std::uint8_t* further, int width, std::int16_t* sums,
                         std::uint8_t* to) {
  std::int16_t* const sum = sums + kLanes;
  int end = 0;
  for (; end < width; end += kLanes) {
    const Lanes a = load_bytes(nearer + end);
    store_as(sum + end, Rows == 2 ? column(a, load_bytes(further + end)) : a);
  }
  sum[-1] = sum[0];
  sum[end] = 0;  // of the last lane's neighbour: whatever lies there may overflow
  sum[width] = sum[width - 1];
  for (int x = 0; x < width; x += kLanes) {
    const Lanes here = load_as<Lanes>(sum + x);
    const Lanes left = left_pixel<Rows>(here, load_as<Lanes>(sum + x - 1));
    const Lanes right = right_pixel<Rows>(here, load_as<Lanes>(sum + x + 1));
    store_as(to + 2 * x, left | (right << 8));  // little endian: left, right, left, right, …
  }
}

// Pixel row r's chroma, cb and cr, in p.rows or in the planes themselves.
inline void chroma_of_row(const JpegImage& image, const Planes& p, int r, const std::uint8_t* (&chroma)[2]) {
  const int c = r / p.v;
  const int neighbour = r % p.v == 0 ? c - 1 : c + 1;
  const int other = neighbour < 0 ? 0 : minimum(neighbour, p.chroma_height - 1);
  for (int k = 0; k < 2; ++k) {
    const std::uint8_t* nearer = p.chroma[k] + (c - 8 * p.chroma_first) * p.chroma_stride;
    const std::uint8_t* further = p.chroma[k] + (other - 8 * p.chroma_first) * p.chroma_stride;
    chroma[k] = p.h == 1 ? nearer : p.rows[k];
    if (p.h == 1) continue;
    if (p.chroma_width <= 2)
      for (int x = 0; x < image.width; ++x) p.rows[k][x] = nearer[x / 2];
    else if (p.v == 2)
      upsample_row<2>(nearer, further, p.chroma_width, p.sums, p.rows[k]);
    else
      upsample_row<1>(nearer, nearer, p.chroma_width, p.sums, p.rows[k]);
  }
}

SAC_INLINE void join_pixels(const std::uint8_t* y, const std::uint8_t* cb, const std::uint8_t* cr, std::uint8_t* rgb) {
  const Lanes l = load_bytes(y), b = load_bytes(cb) - 128, r = load_bytes(cr) - 128;
  store_pixels(rgb, {red<A>(l, b, r), green<A>(l, b, r), blue<A>(l, b, r)});
}

inline void join_row(const std::uint8_t* y, const std::uint8_t* const (&chroma)[2], int width, std::uint8_t* rgb) {
  int x = 0;
  for (; x + kLanes <= width; x += kLanes) join_pixels(y + x, chroma[0] + x, chroma[1] + x, rgb + 3 * x);
  if (x < width) {
    alignas(64) std::uint8_t rest[3 * kLanes];
    join_pixels(y + x, chroma[0] + x, chroma[1] + x, rest);
    std::memcpy(rgb + 3 * x, rest, 3 * (width - x));
  }
}

// ---- a band

std::int64_t scratch_bytes(const JpegImage& image, int mcu_rows) {
  // in the middle of an image, where a band has both neighbours
  JpegImage tall = image;
  tall.height = 8 * 2 * (mcu_rows + 2);
  return Planes(tall, 1, 1 + mcu_rows, nullptr).bytes;
}

void band(const JpegImage& image, int first, int last, std::uint8_t* scratch) {
  const Planes p(image, first, last, scratch);
  if (image.channels == 1)
    fill_gray(image, p);
  else
    for (int c = 8 * p.chroma_first; c < 8 * p.chroma_last; ++c) fill_row(image, p, c);
  roundtrip_plane(p.luma, 8 * p.v * (last - first), p.luma_stride, *image.luminance);
  for (int k = 0; image.channels == 3 && k < 2; ++k)
    roundtrip_plane(p.chroma[k], 8 * (p.chroma_last - p.chroma_first), p.chroma_stride, *image.chrominance);
  const int start = 8 * p.v * first, stop = minimum(8 * p.v * last, image.height);
  for (int r = start; r < stop; ++r) {
    const std::uint8_t* y = p.luma + (r - start) * p.luma_stride;
    std::uint8_t* to = image.out + static_cast<std::int64_t>(r) * image.width * image.channels;
    if (image.channels == 1) {
      std::memcpy(to, y, image.width);
      continue;
    }
    const std::uint8_t* chroma[2];
    chroma_of_row(image, p, r, chroma);
    join_row(y, chroma, image.width, to);
  }
}

}  // namespace
}  // namespace sac
