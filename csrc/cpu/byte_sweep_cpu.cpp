// The sweeps: a block of rows, which stays in the L2 cache, against kByteColumns rows at a time, which stay in the L1.
#include <algorithm>
#include <memory>
#include <stdexcept>
#include <string>

#include "cpu/detail/aligned_buffer.h"
#include "cpu/detail/cache_size.h"
#include "cpu/detail/key_lists.h"
#include "cpu/detail/parallel.h"
#include "cpu/kernels/correlation.h"
#include "sac/byte_vectors.h"
#include "sac/detail/ceil_div.h"
#include "sac/detail/triangle.h"

namespace sac {
namespace {

constexpr std::int64_t kMaxBlockRows = 512;
constexpr std::int64_t kMinBlockRows = 64;  // where more blocks are wanted than the cache asks for
constexpr std::int64_t kBlocksPerThread = 4;
constexpr std::int64_t kColumnBlock = 4096;  // models of a task, where the queries are others
constexpr std::int64_t kLimitColumns = 4;    // kByteColumns models each, between two looks at the limits of the rows
constexpr std::int64_t kStepBytes = 512;     // between two looks at the sums of a radius search

// Rows of half of the L2 cache: the more there are, the less often the columns come from beyond it. Few rows are split
// further, so that no thread waits long for the last block.
std::int64_t block_rows(std::int64_t bytes, std::int64_t rows, int threads) {
  const auto whole = [](std::int64_t n) { return n / kByteColumns * kByteColumns; };
  const std::int64_t cached = whole(l2_cache_bytes() / 2 / bytes), wanted = whole(rows / kBlocksPerThread / threads);
  return std::clamp(std::min(cached, std::max(wanted, kMinBlockRows)), std::int64_t{kByteColumns}, kMaxBlockRows);
}

void check_sizes(std::int64_t models, std::int64_t bytes) {
  if (bytes > kMaxByteEntries)
    throw std::invalid_argument("a vector must have at most " + std::to_string(kMaxByteEntries) + " entries, got " +
                                std::to_string(bytes));
  if (models >= std::int64_t{1} << 32)
    throw std::invalid_argument("models must be fewer than 2^32, got " + std::to_string(models));
}

class RowsInPlace : public ByteSource {
 public:
  explicit RowsInPlace(const ByteRows& rows) : rows_(rows) {}
  std::int64_t models() const override { return rows_.rows; }
  std::int64_t bytes() const override { return rows_.bytes; }
  const std::uint8_t* row(std::int64_t i, std::uint8_t*) const override { return rows_.row(i); }
  bool in_place() const override { return true; }

 private:
  ByteRows rows_;
};

// Pointers to some rows of a source, with the memory of those that had to be copied.
class RowPointers {
 public:
  RowPointers(const ByteSource& source, std::int64_t capacity)
      : source_(source), copies_(source.in_place() ? 0 : capacity * source.bytes()), rows_(capacity) {}

  // Those behind the last row repeat it.
  void load(std::int64_t first, std::int64_t count) {
    const auto capacity = static_cast<std::int64_t>(rows_.size());
    for (std::int64_t i = 0; i < capacity; ++i)
      rows_[i] = i < count ? source_.row(first + i, copies_.data() + i * source_.bytes()) : rows_[count - 1];
  }
  const std::uint8_t* const* data() const { return rows_.data(); }

 private:
  const ByteSource& source_;
  AlignedBuffer<std::uint8_t> copies_;
  std::vector<const std::uint8_t*> rows_;
};

std::int64_t bytes_of(const ByteSources& parts) {
  std::int64_t bytes = 0;
  for (const ByteSource* part : parts) bytes += part->bytes();
  return bytes;
}

class NearestSweepOfBytes {
 public:
  NearestSweepOfBytes(const ByteSources& models, const ByteSources* queries, std::int64_t first_query, std::int64_t top,
                      const CpuOptions& options)
      : models_(models),
        left_(queries ? *queries : models),
        same_(!queries),
        first_query_(first_query),
        options_(options),
        kernels_(kernels_for(options.instruction_set)),
        count_(models[0]->models()),
        queries_(left_[0]->models()),
        block_(std::min(block_rows(bytes_of(models), queries_, options.threads), std::max<std::int64_t>(queries_, 1))),
        column_block_(same_ ? block_ : kColumnBlock),
        lists_(queries_, top) {
    const std::int64_t blocks = ceil_div(queries_, block_), column_blocks = ceil_div(count_, column_block_);
    parallel_for(same_ ? triangle_size(blocks) : blocks * column_blocks, options.threads, options, [&](std::int64_t t) {
      const TriangleTile tile = same_ ? triangle_tile(t, blocks) : TriangleTile{t / column_blocks, t % column_blocks};
      run(tile.row * block_, tile.col * column_block_);
    });
  }

  void write(std::int64_t top, std::uint64_t* keys) {
    parallel_for(ceil_div(queries_, kMaxBlockRows), options_.threads, options_, [&](std::int64_t b) {
      const std::int64_t last = std::min(queries_, (b + 1) * kMaxBlockRows);
      for (std::int64_t i = b * kMaxBlockRows; i < last; ++i) lists_.write(i, keys + i * top);
    });
  }

 private:
  void run(std::int64_t first, std::int64_t first_column) {
    const std::int64_t rows = std::min(block_, queries_ - first);
    const std::int64_t last_column = std::min(count_, first_column + column_block_);
    std::vector<std::unique_ptr<RowPointers>> x, y;
    for (std::size_t part = 0; part < models_.size(); ++part) {
      x.push_back(std::make_unique<RowPointers>(*left_[part], rows));
      x[part]->load(first, rows);
      y.push_back(std::make_unique<RowPointers>(*models_[part], kByteColumns));
    }
    std::vector<std::int32_t> sums(static_cast<std::size_t>((rows + 1) * kByteColumns)), limits(rows), found(rows);
    for (std::int64_t c = first_column; c < last_column; c += kByteColumns) {
      const std::int64_t columns = std::min<std::int64_t>(kByteColumns, last_column - c);
      // of a block on the diagonal only the rows above it
      const std::int64_t needed = same_ ? std::min(rows, c + columns - first) : rows;
      for (std::size_t part = 0; part < models_.size(); ++part) {
        y[part]->load(c, columns);
        const std::uint8_t* ahead[kByteColumns];
        const bool is_next = models_[part]->in_place() && c + kByteColumns < last_column;
        for (int j = 0; is_next && j < kByteColumns; ++j)
          ahead[j] = models_[part]->row(std::min(c + kByteColumns + j, last_column - 1), nullptr);
        kernels_.byte_columns(x[part]->data(), needed, y[part]->data(), is_next ? ahead : nullptr, 0,
                              models_[part]->bytes(), part > 0, sums.data());
      }
      std::int32_t column_limits[kByteColumns];
      for (int j = 0; j < kByteColumns; ++j) column_limits[j] = same_ && j < columns ? lists_.limit(c + j) : -1;
      // Limits only fall: older ones let a few more through, to be looked at again.
      if ((c - first_column) % (kLimitColumns * kByteColumns) == 0)
        for (std::int64_t i = 0; i < rows; ++i) limits[i] = lists_.limit(first + i);
      const std::int64_t count = kernels_.rows_within(sums.data(), needed, limits.data(), column_limits, found.data());
      for (std::int64_t f = 0; f < count; ++f) add(first, found[f], c, columns, &sums[found[f] * kByteColumns]);
    }
  }

  void add(std::int64_t first, std::int64_t row, std::int64_t c, std::int64_t columns, const std::int32_t* sums) {
    const std::int64_t query = first + row;
    for (std::int64_t j = 0; j < columns; ++j) {
      const std::int64_t model = c + j;
      if (same_ ? query >= model : first_query_ >= 0 && first_query_ + query == model) continue;
      if (sums[j] <= lists_.limit(query)) lists_.add(query, byte_key(sums[j], model));
      if (same_ && sums[j] <= lists_.limit(model)) lists_.add(model, byte_key(sums[j], query));
    }
  }

  const ByteSources &models_, &left_;
  const bool same_;
  const std::int64_t first_query_;
  const CpuOptions& options_;
  const Kernels& kernels_;
  const std::int64_t count_, queries_, block_, column_block_;
  KeyLists lists_;
};

// A block of queries against kByteColumns models at a time; rows leave as soon as all of their sums are over the limit.
class RadiusBlock {
 public:
  RadiusBlock(const std::vector<ByteRows>& models, const std::vector<ByteRows>& left, std::int64_t first,
              std::int64_t rows, std::int32_t limit, const Kernels& kernels)
      : models_(models), left_(left), first_(first), rows_(rows), limits_(rows, limit), kernels_(kernels) {
    pointers_.resize(rows);
    alive_.resize(rows);
    found_.resize(rows);
    sums_.resize(static_cast<std::size_t>((rows + 1) * kByteColumns));
  }

  void columns(std::int64_t c, std::int64_t count, bool same, std::vector<BytePair>& pairs) {
    const std::int32_t limit = limits_[0];
    std::int64_t left = same ? std::min(rows_, c + count - first_) : rows_;
    for (std::int64_t i = 0; i < left; ++i) alive_[i] = static_cast<std::int32_t>(i);
    const std::int32_t no_limits[kByteColumns] = {-1, -1, -1, -1, -1, -1, -1, -1};
    bool add = false;
    for (std::size_t part = 0; part < models_.size() && left > 0; ++part) {
      const std::uint8_t* y[kByteColumns];
      for (std::int64_t j = 0; j < kByteColumns; ++j) y[j] = models_[part].row(c + std::min(j, count - 1));
      for (std::int64_t from = 0; from < models_[part].bytes && left > 0; from += kStepBytes) {
        for (std::int64_t i = 0; i < left; ++i) pointers_[i] = left_[part].row(first_ + alive_[i]);
        kernels_.byte_columns(pointers_.data(), left, y, nullptr, from,
                              std::min(models_[part].bytes, from + kStepBytes), add, sums_.data());
        add = true;
        const std::int64_t kept = kernels_.rows_within(sums_.data(), left, limits_.data(), no_limits, found_.data());
        if (kept < left)
          for (std::int64_t f = 0; f < kept; ++f) {
            alive_[f] = alive_[found_[f]];
            std::copy_n(&sums_[found_[f] * kByteColumns], kByteColumns, &sums_[f * kByteColumns]);
          }
        left = kept;
      }
    }
    for (std::int64_t i = 0; i < left; ++i)
      for (std::int64_t j = 0; j < count; ++j) {
        const std::int32_t sum = sums_[i * kByteColumns + j];
        const std::int64_t query = first_ + alive_[i];
        if (sum <= limit && !(same && query >= c + j)) pairs.push_back({query, c + j, sum});
      }
  }

 private:
  const std::vector<ByteRows>&models_, &left_;
  const std::int64_t first_, rows_;
  const std::vector<std::int32_t> limits_;
  const Kernels& kernels_;
  std::vector<const std::uint8_t*> pointers_;
  std::vector<std::int32_t> alive_, found_, sums_;
};

std::int64_t bytes_of(const std::vector<ByteRows>& parts) {
  std::int64_t bytes = 0;
  for (const ByteRows& part : parts) bytes += part.bytes;
  return bytes;
}

}  // namespace

void nearest_bytes_cpu(const ByteSources& models, const ByteSources* queries, std::int64_t first_query,
                       std::int64_t top, const CpuOptions& options, std::uint64_t* keys) {
  check_sizes(models[0]->models(), bytes_of(models));
  NearestSweepOfBytes(models, queries, first_query, top, options).write(top, keys);
}

void nearest_bytes_cpu(const std::vector<ByteRows>& models, const std::vector<ByteRows>* queries,
                       std::int64_t first_query, std::int64_t top, const CpuOptions& options, std::uint64_t* keys) {
  std::vector<RowsInPlace> parts;
  parts.reserve(2 * models.size());
  ByteSources right, left;
  for (const ByteRows& part : models) right.push_back(&parts.emplace_back(part));
  if (queries)
    for (const ByteRows& part : *queries) left.push_back(&parts.emplace_back(part));
  nearest_bytes_cpu(right, queries ? &left : nullptr, first_query, top, options, keys);
}

void rank_bytes_cpu(const std::vector<ByteRows>& models, const std::vector<ByteRows>& queries,
                    const std::int64_t* candidates, std::int64_t each, std::int64_t top, const CpuOptions& options,
                    std::uint64_t* keys) {
  check_sizes(models[0].rows, bytes_of(models));
  const Kernels& kernels = kernels_for(options.instruction_set);
  constexpr std::int64_t block = 64;
  parallel_for(ceil_div(queries[0].rows, block), options.threads, options, [&](std::int64_t b) {
    std::vector<std::uint64_t> ranked(each);
    for (std::int64_t q = b * block; q < std::min(queries[0].rows, (b + 1) * block); ++q) {
      for (std::int64_t c = 0; c < each; c += kByteColumns) {
        const std::int64_t* some = candidates + q * each + c;
        const std::int64_t count = std::min<std::int64_t>(kByteColumns, each - c);
        std::int32_t sums[2 * kByteColumns] = {};
        for (std::size_t part = 0; part < models.size(); ++part) {
          const std::uint8_t *x = queries[part].row(q), *y[kByteColumns];
          for (std::int64_t j = 0; j < kByteColumns; ++j) y[j] = models[part].row(some[std::min(j, count - 1)]);
          kernels.byte_columns(&x, 1, y, nullptr, 0, models[part].bytes, part > 0, sums);
        }
        for (std::int64_t j = 0; j < count; ++j) ranked[c + j] = byte_key(sums[j], some[j]);
      }
      std::partial_sort_copy(ranked.begin(), ranked.end(), keys + q * top, keys + (q + 1) * top);
    }
  });
}

std::vector<BytePair> within_bytes_cpu(const std::vector<ByteRows>& models, const std::vector<ByteRows>* queries,
                                       std::int64_t first, std::int64_t last, std::int64_t limit,
                                       const CpuOptions& options) {
  const std::int64_t bytes = bytes_of(models), count = models[0].rows;
  check_sizes(count, bytes);
  const Kernels& kernels = kernels_for(options.instruction_set);
  const std::vector<ByteRows>& left = queries ? *queries : models;
  const std::int64_t block = block_rows(bytes, last - first, options.threads), blocks = ceil_div(last - first, block);
  const std::int64_t column_blocks = ceil_div(count, kColumnBlock);
  const auto bound = static_cast<std::int32_t>(std::clamp<std::int64_t>(limit, -1, kMaxByteEntries * 255));
  std::vector<std::vector<BytePair>> found(static_cast<std::size_t>(blocks * column_blocks));
  parallel_for(blocks * column_blocks, options.threads, options, [&](std::int64_t t) {
    const std::int64_t start = first + t / column_blocks * block, rows = std::min(block, last - start);
    const std::int64_t end = std::min(count, (t % column_blocks + 1) * kColumnBlock);
    RadiusBlock work(models, left, start, rows, bound, kernels);
    for (std::int64_t c = t % column_blocks * kColumnBlock; c < end; c += kByteColumns) {
      const std::int64_t columns = std::min<std::int64_t>(kByteColumns, end - c);
      if (queries || start < c + columns) work.columns(c, columns, !queries, found[t]);
    }
  });
  std::vector<BytePair> pairs;
  for (auto& some : found) {
    pairs.insert(pairs.end(), some.begin(), some.end());
    std::vector<BytePair>().swap(some);
  }
  std::sort(pairs.begin(), pairs.end(), [](const BytePair& a, const BytePair& b) {
    return a.query < b.query || (a.query == b.query && a.model < b.model);
  });
  return pairs;
}

}  // namespace sac
