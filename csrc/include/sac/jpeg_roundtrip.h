// jpeg_roundtrip: the pixels of an image after JPEG compression, without the file in between.
//
//   out[i] = decode(encode(images[i], quality[i], subsampling))
//
// bit for bit as libjpeg-turbo gives it when Pillow calls it: baseline tables scaled in integers, the "islow" DCT
// both ways, "fancy" upsampling. Entropy coding loses nothing and is left out. The arithmetic is in
// detail/jpeg_math.h and detail/jpeg_tables.h, shared by CPU and CUDA.
//
// Edges: the right edge is replicated at full resolution before down-sampling; below the image the last
// down-sampled row is replicated. Chroma planes are ceil(W/2) wide (ceil(H/2) high for 4:2:0) when they are
// interpolated back, and are replicated rather than interpolated when no wider than 2.
//
// One known divergence: where the inverse DCT leaves −384 … 639, libjpeg's plain C code wraps around and its SIMD
// code, which Pillow runs on x86-64 and aarch64, clamps. We clamp. No photograph gets there.
#pragma once

#include <cstdint>

#include "sac/detail/cancelled.h"
#include "sac/detail/cpu_options.h"

namespace sac {

enum class Subsampling { s444, s422, s420 };

constexpr int kMaxJpegSide = 65500;  // a side of a JPEG image, libjpeg's own limit

struct JpegBatch {
  const std::uint8_t* images;  // (count, height, width, channels), contiguous
  std::uint8_t* out;           // the same shape; may not overlap images
  std::int64_t count;
  int height, width;            // 1 … kMaxJpegSide
  int channels;                 // 1 (gray: subsampling does not matter) or 3 (RGB)
  const std::uint8_t* quality;  // 1 … 100
  int quality_step;             // 1: one for each image, 0: one for all
  Subsampling subsampling;
};

// Chroma samples cover h × v pixels; v·8 pixel rows are one row of MCUs, the unit of work.
constexpr int horizontal_factor(Subsampling s) { return s == Subsampling::s444 ? 1 : 2; }
constexpr int vertical_factor(Subsampling s) { return s == Subsampling::s420 ? 2 : 1; }

// Threads work on bands of images; the pixels do not depend on the number of threads. Throws Cancelled when
// asked to stop, std::bad_alloc.
void jpeg_roundtrip_cpu(const JpegBatch& batch, const CpuOptions& options);

// Device pointers (quality too). Launches on `stream` (a cudaStream_t) of the current device and does not wait. Throws
// std::runtime_error with the kernel's name if the launch fails.
void jpeg_roundtrip_cuda(const JpegBatch& batch, void* stream);

}  // namespace sac
