// One thread block per tile: pixels are read once (and a halo, for the interpolation of chroma), the planes stay in
// shared memory, and pixels are written once. An image whose planes fit is one tile. Not yet run on a GPU;
// tests/test_jpeg_cuda_emulated.py runs its threads on the CPU.
#include <algorithm>

#include "cuda/detail/launch.cuh"
#include "sac/detail/ceil_div.h"
#include "sac/detail/jpeg_math.h"
#include "sac/detail/jpeg_tables.h"
#include "sac/jpeg_roundtrip.h"

namespace sac {
namespace {

using A = ScalarArithmetic;

constexpr int kThreads = 256;
constexpr int kBlocksAtOnce = kThreads / 8;
constexpr int kTileSide = 128;
constexpr int kMaxWholeBytes = 80 * 1024;  // two blocks a multiprocessor on an A100
constexpr std::int64_t kMaxTiles = 1 << 20;

__constant__ const JpegBaseTables kBase = jpeg_base_tables();

// In samples. Luma: from (y0, x0), rows × cols, multiples of 8. Chroma: likewise, with the neighbours' blocks.
struct Tile {
  int y0, x0, rows, cols;
  int c_y0, c_x0, c_rows, c_cols;
};

struct Layout {
  int tile_height, tile_width;  // luma samples, multiples of 16, or the whole image
  int tiles_down, tiles_across;
  int luma_bytes, chroma_bytes;  // of one plane in shared memory
};

__host__ __device__ inline int padded_8(int n) { return (n + 7) & ~7; }

template <int H, int V>
__device__ Tile tile_at(const JpegBatch& batch, const Layout& layout, int number) {
  Tile t;
  t.y0 = number / layout.tiles_across * layout.tile_height;
  t.x0 = number % layout.tiles_across * layout.tile_width;
  t.rows = padded_8(min(layout.tile_height, batch.height - t.y0));
  t.cols = padded_8(min(layout.tile_width, batch.width - t.x0));
  const int below = padded_8(ceil_div(batch.height, V)), right = padded_8(ceil_div(batch.width, H));
  t.c_y0 = V == 2 && t.y0 > 0 ? t.y0 / V - 8 : t.y0 / V;
  t.c_x0 = H == 2 && t.x0 > 0 ? t.x0 / H - 8 : t.x0 / H;
  t.c_rows = min(below, (t.y0 + layout.tile_height) / V + (V == 2 ? 8 : 0)) - t.c_y0;
  t.c_cols = min(right, (t.x0 + layout.tile_width) / H + (H == 2 ? 8 : 0)) - t.c_x0;
  return t;
}

struct Rgb {
  int r, g, b;
};
__device__ inline Rgb pixel(const std::uint8_t* image, const JpegBatch& batch, int y, int x) {
  const std::uint8_t* p =
      image + (static_cast<std::int64_t>(min(y, batch.height - 1)) * batch.width + min(x, batch.width - 1)) * 3;
  return {__ldg(p), __ldg(p + 1), __ldg(p + 2)};
}

// Chroma sample (c_y, c_x) of the tile's planes, and the luma samples under it that belong to the tile.
template <int H, int V>
__device__ void fill_sample(const std::uint8_t* image, const JpegBatch& batch, const Tile& t, int c_y, int c_x,
                            std::uint8_t* luma_plane, std::uint8_t* const (&chroma)[2]) {
  const int above = t.c_y0 + c_y, x = (t.c_x0 + c_x) * H;
  const int row = min(above, ceil_div(batch.height, V) - 1);  // below the image: its last down-sampled row
  int cb[V][H], cr[V][H];
#pragma unroll
  for (int i = 0; i < V; ++i)
#pragma unroll
    for (int j = 0; j < H; ++j) {
      Rgb p = pixel(image, batch, row * V + i, x + j);
      cb[i][j] = chroma_blue<A>(p.r, p.g, p.b);
      cr[i][j] = chroma_red<A>(p.r, p.g, p.b);
      const int y_in = above * V + i - t.y0, x_in = x + j - t.x0;
      if (y_in < 0 || y_in >= t.rows || x_in < 0 || x_in >= t.cols) continue;
      if (row != above) p = pixel(image, batch, batch.height - 1, x + j);
      luma_plane[y_in * t.cols + x_in] = luma<A>(p.r, p.g, p.b);
    }
  const int at = c_y * t.c_cols + c_x, odd = (t.c_x0 + c_x) & 1;
  if (V == 2) {
    chroma[0][at] = mean_of_4(cb[0][0], cb[0][H - 1], cb[V - 1][0], cb[V - 1][H - 1], odd);
    chroma[1][at] = mean_of_4(cr[0][0], cr[0][H - 1], cr[V - 1][0], cr[V - 1][H - 1], odd);
  } else {
    chroma[0][at] = H == 2 ? mean_of_2(cb[0][0], cb[0][H - 1], odd) : cb[0][0];
    chroma[1][at] = H == 2 ? mean_of_2(cr[0][0], cr[0][H - 1], odd) : cr[0][0];
  }
}

// 8 threads per block of samples: each transforms a row, then a column, then a row. `work` transposes the block.
__device__ void roundtrip_block(std::uint8_t* row, const JpegStep* table, std::int16_t (&work)[8][10], int lane,
                                bool active) {
  int x[8];
  if (active) {
    const uint2 bytes = *reinterpret_cast<const uint2*>(row);
#pragma unroll
    for (int k = 0; k < 8; ++k) x[k] = static_cast<int>(((k < 4 ? bytes.x : bytes.y) >> (8 * (k & 3))) & 255) - 128;
    forward_dct<A, 1>(x);
#pragma unroll
    for (int k = 0; k < 8; ++k) work[lane][k] = x[k];
  }
  __syncwarp();
  if (active) {
#pragma unroll
    for (int k = 0; k < 8; ++k) x[k] = work[k][lane];
    forward_dct<A, 2>(x);
#pragma unroll
    for (int k = 0; k < 8; ++k) {
      const JpegStep q = table[8 * k + lane];
      x[k] = requantise<A, int>(x[k], q.step, q.half, q.reciprocal, q.scale);
    }
    inverse_dct<A, 1>(x);
#pragma unroll
    for (int k = 0; k < 8; ++k) work[k][lane] = x[k];
  }
  __syncwarp();
  if (active) {
#pragma unroll
    for (int k = 0; k < 8; ++k) x[k] = work[lane][k];
    inverse_dct<A, 2>(x);
    uint2 bytes = {0, 0};
#pragma unroll
    for (int k = 0; k < 8; ++k) (k < 4 ? bytes.x : bytes.y) |= min(max(x[k] + 128, 0), 255) << (8 * (k & 3));
    *reinterpret_cast<uint2*>(row) = bytes;
  }
  __syncwarp();
}

// All blocks of a plane of rows × cols samples. Called by all threads of the block.
__device__ void roundtrip_plane(std::uint8_t* plane, int rows, int cols, const JpegStep* table,
                                std::int16_t (&work)[kBlocksAtOnce][8][10]) {
  const int across = cols / 8, blocks = rows / 8 * across, lane = threadIdx.x % 8;
  for (int first = 0; first < blocks; first += kBlocksAtOnce) {
    const int b = first + threadIdx.x / 8;
    roundtrip_block(plane + (b / across * 8 + lane) * cols + b % across * 8, table, work[threadIdx.x / 8], lane,
                    b < blocks);
  }
}

// The V × H upsampled values of chroma sample (c_y, c_x) of the image.
template <int H, int V>
__device__ void upsample_sample(const std::uint8_t* plane, const JpegBatch& batch, const Tile& t, int c_y, int c_x,
                                int (&to)[V][H]) {
  const int width = ceil_div(batch.width, H), height = ceil_div(batch.height, V);
  const auto at = [&](int row, int col) {
    row = min(max(row, 0), height - 1), col = min(max(col, 0), width - 1);
    return static_cast<int>(plane[(row - t.c_y0) * t.c_cols + col - t.c_x0]);
  };
  const int here = at(c_y, c_x);
  const bool copies = H == 1 || width <= 2;
  int sums[V][3];
#pragma unroll
  for (int d = 0; d < 3 && !copies; ++d) {
    const int middle = at(c_y, c_x + d - 1);
    sums[0][d] = V == 2 ? column(middle, at(c_y - 1, c_x + d - 1)) : middle;
    sums[V - 1][d] = V == 2 ? column(middle, at(c_y + 1, c_x + d - 1)) : middle;
  }
#pragma unroll
  for (int i = 0; i < V; ++i) {
    to[i][0] = copies ? here : left_pixel<V>(sums[i][1], sums[i][0]);
    to[i][H - 1] = copies ? here : right_pixel<V>(sums[i][1], sums[i][2]);
  }
}

__device__ inline std::uint8_t clamped(int x) { return static_cast<std::uint8_t>(min(max(x, 0), 255)); }

// The pixels over chroma sample (c_y, c_x) of the image.
template <int H, int V>
__device__ void write_sample(const JpegBatch& batch, const Tile& t, int c_y, int c_x, const std::uint8_t* luma_plane,
                             std::uint8_t* const (&chroma)[2], std::uint8_t* out) {
  int cb[V][H], cr[V][H];
  upsample_sample<H, V>(chroma[0], batch, t, c_y, c_x, cb);
  upsample_sample<H, V>(chroma[1], batch, t, c_y, c_x, cr);
#pragma unroll
  for (int i = 0; i < V; ++i)
#pragma unroll
    for (int j = 0; j < H; ++j) {
      const int y = c_y * V + i, x = c_x * H + j;
      if (y >= batch.height || x >= batch.width) continue;
      const int value = luma_plane[(y - t.y0) * t.cols + x - t.x0], b = cb[i][j] - 128, r = cr[i][j] - 128;
      std::uint8_t* to = out + (static_cast<std::int64_t>(y) * batch.width + x) * 3;
      to[0] = clamped(red<A>(value, b, r));
      to[1] = clamped(green<A>(value, b, r));
      to[2] = clamped(blue<A>(value, b, r));
    }
}

// visit(y, x) for all of rows × cols, one warp per row.
template <class Visit>
__device__ void for_each_sample(int rows, int cols, const Visit& visit) {
  for (int y = threadIdx.x / 32; y < rows; y += kThreads / 32)
    for (int x = threadIdx.x % 32; x < cols; x += 32) visit(y, x);
}

template <int Channels, int H, int V>
__device__ void read_tile(const JpegBatch& batch, const Tile& t, const std::uint8_t* image, std::uint8_t* luma_plane,
                          std::uint8_t* const (&chroma)[2]) {
  if (Channels == 3) {
    for_each_sample(t.c_rows, t.c_cols,
                    [&](int y, int x) { fill_sample<H, V>(image, batch, t, y, x, luma_plane, chroma); });
  } else {
    for_each_sample(t.rows, t.cols, [&](int y, int x) {
      const std::int64_t row = min(t.y0 + y, batch.height - 1);
      luma_plane[y * t.cols + x] = image[row * batch.width + min(t.x0 + x, batch.width - 1)];
    });
  }
}

template <int Channels, int H, int V>
__device__ void write_tile(const JpegBatch& batch, const Tile& t, const std::uint8_t* luma_plane,
                           std::uint8_t* const (&chroma)[2], std::uint8_t* out) {
  const int rows = min(t.rows, batch.height - t.y0), cols = min(t.cols, batch.width - t.x0);
  if (Channels == 3) {
    for_each_sample(ceil_div(rows, V), ceil_div(cols, H), [&](int y, int x) {
      write_sample<H, V>(batch, t, t.y0 / V + y, t.x0 / H + x, luma_plane, chroma, out);
    });
  } else {
    for_each_sample(rows, cols, [&](int y, int x) {
      out[static_cast<std::int64_t>(t.y0 + y) * batch.width + t.x0 + x] = luma_plane[y * t.cols + x];
    });
  }
}

struct JpegTask {
  JpegBatch batch;
  Layout layout;
};

template <int Channels, int H, int V>
__global__ void __launch_bounds__(kThreads) jpeg_roundtrip_kernel(JpegTask task) {
  const JpegBatch& batch = task.batch;
  const Layout& layout = task.layout;
  std::uint8_t* const planes = dynamic_shared();
  __shared__ JpegStep tables[2][64];
  __shared__ std::int16_t work[kBlocksAtOnce][8][10];
  std::uint8_t* const luma_plane = planes;
  std::uint8_t* const chroma[2] = {planes + layout.luma_bytes, planes + layout.luma_bytes + layout.chroma_bytes};
  const int tiles = layout.tiles_down * layout.tiles_across;
  for (std::int64_t n = blockIdx.x; n < batch.count * tiles; n += gridDim.x) {
    const std::int64_t number = n / tiles;
    const std::int64_t offset = number * batch.height * batch.width * Channels;
    const Tile t = tile_at<H, V>(batch, layout, static_cast<int>(n % tiles));
    __syncthreads();  // the last tile has been written
    const int quality = batch.quality[number * batch.quality_step];
    for (int i = threadIdx.x; i < 128; i += kThreads)
      tables[i / 64][i % 64] = jpeg_divisor(jpeg_step(kBase.value[i / 64][i % 64], quality));
    read_tile<Channels, H, V>(batch, t, batch.images + offset, luma_plane, chroma);
    __syncthreads();
    roundtrip_plane(luma_plane, t.rows, t.cols, tables[0], work);
#pragma unroll
    for (int k = 0; k < (Channels == 3 ? 2 : 0); ++k) roundtrip_plane(chroma[k], t.c_rows, t.c_cols, tables[1], work);
    __syncthreads();
    write_tile<Channels, H, V>(batch, t, luma_plane, chroma, batch.out + offset);
  }
}

Layout layout_of(const JpegBatch& batch, int h, int v, bool whole) {
  Layout l;
  l.tile_height = whole ? round_up(batch.height, 16) : kTileSide;
  l.tile_width = whole ? round_up(batch.width, 16) : kTileSide;
  l.tiles_down = ceil_div(batch.height, l.tile_height);
  l.tiles_across = ceil_div(batch.width, l.tile_width);
  l.luma_bytes = l.tile_height * l.tile_width;
  const int halo = whole ? 0 : 16;
  const int samples = (l.tile_height / v + (v == 2 ? halo : 0)) * (l.tile_width / h + (h == 2 ? halo : 0));
  l.chroma_bytes = batch.channels == 1 ? 0 : padded_8(samples);
  return l;
}

template <int Channels, int H, int V>
void launch(const JpegBatch& batch, void* stream) {
  Layout layout = layout_of(batch, H, V, false);
  if (static_cast<std::int64_t>(batch.height) * batch.width <= kMaxWholeBytes) {
    const Layout whole = layout_of(batch, H, V, true);
    if (whole.luma_bytes + 2 * whole.chroma_bytes <= kMaxWholeBytes) layout = whole;
  }
  const int bytes = layout.luma_bytes + 2 * layout.chroma_bytes;
  const std::int64_t tiles = batch.count * layout.tiles_down * layout.tiles_across;
  launch_kernel("jpeg_roundtrip_kernel", jpeg_roundtrip_kernel<Channels, H, V>,
                static_cast<unsigned>(std::min(tiles, kMaxTiles)), kThreads, bytes, stream, JpegTask{batch, layout});
}

}  // namespace

void jpeg_roundtrip_cuda(const JpegBatch& batch, void* stream) {
  if (batch.count == 0) return;
  if (batch.channels == 1) return launch<1, 1, 1>(batch, stream);
  switch (batch.subsampling) {
    case Subsampling::s444: return launch<3, 1, 1>(batch, stream);
    case Subsampling::s422: return launch<3, 2, 1>(batch, stream);
    case Subsampling::s420: return launch<3, 2, 2>(batch, stream);
  }
}

}  // namespace sac
