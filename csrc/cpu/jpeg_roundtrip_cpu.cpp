#include <algorithm>
#include <atomic>
#include <memory>
#include <vector>

#include "cpu/detail/aligned_buffer.h"
#include "cpu/detail/parallel.h"
#include "cpu/kernels/jpeg.h"
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

// Work below which a second thread costs more than it brings (starting one takes some 30 µs).
constexpr double kPixelsPerThread = 32e3;
// A band's planes should stay in the second-level cache, and a band of 4:2:0 repeats the chroma of its neighbours.
constexpr std::int64_t kMostBandBytes = 512 * 1024;
constexpr int kLeastBandRows = 4;
constexpr int kBandsPerThread = 4;

int useful_threads(const JpegBatch& batch, int threads) {
  const double pixels = static_cast<double>(batch.count) * batch.height * batch.width;
  return std::max(1, static_cast<int>(std::min<double>(threads, pixels / kPixelsPerThread)));
}

// Luminance and chrominance tables of the qualities that occur.
class Tables {
 public:
  explicit Tables(const JpegBatch& batch) {
    constexpr JpegBaseTables base = jpeg_base_tables();
    for (std::int64_t i = 0; i < (batch.quality_step ? batch.count : 1); ++i) {
      int& place = places_[batch.quality[i * batch.quality_step]];
      if (place) continue;
      place = static_cast<int>(tables_.size()) + 1;
      tables_.resize(tables_.size() + 2);
      for (int k = 0; k < 2; ++k)
        for (int entry = 0; entry < 64; ++entry)
          jpeg_set_entry(tables_[place - 1 + k], entry, base.value[k][entry], batch.quality[i * batch.quality_step]);
    }
  }
  const JpegTable* luminance(int quality) const { return &tables_[places_[quality] - 1]; }
  const JpegTable* chrominance(int quality) const { return &tables_[places_[quality]]; }

 private:
  int places_[256] = {};  // 1 + index of the luminance table, 0: not there
  std::vector<JpegTable> tables_;
};

// One piece of scratch memory for each thread; a task borrows any that is free.
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
  const int mcu_rows = (batch.height + mcu_height - 1) / mcu_height;
  int band = mcu_rows;
  if (threads > 1 && batch.count < threads * kBandsPerThread) {
    const std::int64_t bands = (threads * kBandsPerThread + batch.count - 1) / batch.count;
    band = std::max<int>(std::min(kLeastBandRows, mcu_rows), (mcu_rows + bands - 1) / bands);
  }
  while (band > kLeastBandRows && kernels.scratch_bytes(image(0), band) > kMostBandBytes) band = (band + 1) / 2;
  const std::int64_t bands = (mcu_rows + band - 1) / band;
  Scratch scratch(threads, kernels.scratch_bytes(image(0), band));
  parallel_for(batch.count * bands, threads, options, [&](std::int64_t task) {
    const int first = static_cast<int>(task % bands) * band;
    scratch.borrow([&](std::uint8_t* memory) {
      kernels.band(image(task / bands), first, std::min(first + band, mcu_rows), memory);
    });
  });
}

}  // namespace sac
