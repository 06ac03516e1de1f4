#include <algorithm>
#include <atomic>
#include <memory>
#include <vector>

#include "cpu/detail/aligned_buffer.h"
#include "cpu/detail/parallel.h"
#include "cpu/kernels/jpeg.h"
#include "sac/detail/ceil_div.h"
#include "sac/detail/jpeg_tables.h"
#include "sac/jpeg_roundtrip.h"

namespace sac {
namespace {

const JpegKernels& kernels_for(InstructionSet set) {
#ifdef SAC_X86_64
  if (set == InstructionSet::avx512) return jpeg_kernels_avx512;
  if (set == InstructionSet::avx2) return jpeg_kernels_avx2;
#endif
  (void)set;
  return jpeg_kernels_portable;
}

// Pixels below which a second thread costs more than it saves (starting one takes about 30 µs).
constexpr double kPixelsPerThread = 32e3;
// A band's planes should fit the L2 cache; a band of 4:2:0 recomputes the chroma of its neighbours.
constexpr std::int64_t kMaxBandBytes = 512 * 1024;
constexpr int kMinBandRows = 4;
constexpr int kBandsPerThread = 4;

int useful_threads(const JpegBatch& batch, int threads) {
  const double pixels = static_cast<double>(batch.count) * batch.height * batch.width;
  return std::max(1, static_cast<int>(std::min<double>(threads, pixels / kPixelsPerThread)));
}

// Luminance and chrominance tables of the qualities in a batch.
class Tables {
 public:
  explicit Tables(const JpegBatch& batch) {
    constexpr JpegBaseTables base = jpeg_base_tables();
    for (std::int64_t i = 0; i < (batch.quality_step ? batch.count : 1); ++i) {
      int& index = index_[batch.quality[i * batch.quality_step]];
      if (index) continue;
      index = static_cast<int>(tables_.size()) + 1;
      tables_.resize(tables_.size() + 2);
      for (int k = 0; k < 2; ++k)
        for (int entry = 0; entry < 64; ++entry)
          jpeg_set_entry(tables_[index - 1 + k], entry, base.value[k][entry], batch.quality[i * batch.quality_step]);
    }
  }
  const JpegTable* luminance(int quality) const { return &tables_[index_[quality] - 1]; }
  const JpegTable* chrominance(int quality) const { return &tables_[index_[quality]]; }

 private:
  int index_[256] = {};  // 1 + index of the luminance table, 0: none
  std::vector<JpegTable> tables_;
};

// One buffer of scratch memory for each thread; a task borrows a free one.
class Scratch {
 public:
  Scratch(int pieces, std::int64_t bytes) : taken_(new std::atomic<bool>[pieces]) {
    for (int i = 0; i < pieces; ++i)
      taken_[i] = false, pieces_.push_back(std::make_unique<AlignedBuffer<std::uint8_t>>(bytes));
  }
  template <typename Use>
  void borrow(const Use& use) {
    std::size_t i = 0;
    while (taken_[i].exchange(true, std::memory_order_acquire)) i = (i + 1) % pieces_.size();
    use(pieces_[i]->data());
    taken_[i].store(false, std::memory_order_release);
  }

 private:
  std::unique_ptr<std::atomic<bool>[]> taken_;
  std::vector<std::unique_ptr<AlignedBuffer<std::uint8_t>>> pieces_;
};

}  // namespace

void jpeg_roundtrip_cpu(const JpegBatch& batch, const CpuOptions& options) {
  if (batch.count == 0) return;
  const JpegKernels& kernels = kernels_for(options.instruction_set);
  const Tables tables(batch);
  const int threads = useful_threads(batch, options.threads);
  const auto image = [&](std::int64_t i) {
    const std::int64_t offset = i * batch.height * batch.width * batch.channels;
    const int quality = batch.quality[i * batch.quality_step];
    return JpegImage{batch.images + offset,
                     batch.out + offset,
                     batch.height,
                     batch.width,
                     batch.channels,
                     batch.subsampling,
                     tables.luminance(quality),
                     tables.chrominance(quality)};
  };
  const int mcu_height = 8 * (batch.channels == 1 ? 1 : vertical_factor(batch.subsampling));
  const int mcu_rows = ceil_div(batch.height, mcu_height);
  int band = mcu_rows;
  if (threads > 1 && batch.count < threads * kBandsPerThread) {
    const std::int64_t bands = ceil_div(threads * kBandsPerThread, batch.count);
    band = std::max<int>(std::min(kMinBandRows, mcu_rows), ceil_div(mcu_rows, bands));
  }
  while (band > kMinBandRows && kernels.scratch_bytes(image(0), band) > kMaxBandBytes) band = (band + 1) / 2;
  const std::int64_t bands = ceil_div(mcu_rows, band);
  Scratch scratch(threads, kernels.scratch_bytes(image(0), band));
  parallel_for(batch.count * bands, threads, options, [&](std::int64_t task) {
    const int first = static_cast<int>(task % bands) * band;
    scratch.borrow([&](std::uint8_t* memory) {
      kernels.band(image(task / bands), first, std::min(first + band, mcu_rows), memory);
    });
  });
}

}  // namespace sac
