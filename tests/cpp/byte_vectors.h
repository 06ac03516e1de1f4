// Rows of bytes in two parts: the nearest, and the pairs within a limit, against all sums.
#pragma once

#include <algorithm>
#include <cstdlib>
#include <vector>

#include "cpu/detail/aligned_buffer.h"
#include "sac/byte_vectors.h"

inline bool byte_vectors_are_right(const sac::CpuOptions& options) {
  constexpr std::int64_t models = 75, stride = 64 + 128, top = 5;
  const sac::AlignedBuffer<std::uint8_t> data(models * stride);
  std::uint32_t random = 7;
  for (std::int64_t i = 0; i < models * stride; ++i)
    data.data()[i] = static_cast<std::uint8_t>((random = random * 1664525u + 1013904223u) >> 24);
  const auto sum = [&](std::int64_t a, std::int64_t b) {
    const std::uint8_t *x = data.data() + a * stride, *y = data.data() + b * stride;
    std::int64_t total = 0;
    for (std::int64_t e = 0; e < stride; ++e) total += std::abs(int{x[e]} - int{y[e]});
    return total;
  };
  const std::vector<sac::ByteRows> parts{{data.data(), models, stride, 64}, {data.data() + 64, models, stride, 128}};
  const std::int64_t limit = sum(0, 1);
  std::vector<std::uint64_t> expected, keys(models * top);
  std::int64_t within = 0;
  for (std::int64_t a = 0; a < models; ++a) {
    std::vector<std::uint64_t> all;
    for (std::int64_t b = 0; b < models; ++b) {
      if (a != b) all.push_back(sac::byte_key(static_cast<std::int32_t>(sum(a, b)), b));
      within += a < b && sum(a, b) <= limit;
    }
    std::sort(all.begin(), all.end());
    expected.insert(expected.end(), all.begin(), all.begin() + top);
  }
  bool right = true;
  for (const auto* queries : {static_cast<decltype(&parts)>(nullptr), &parts}) {
    sac::nearest_bytes_cpu(parts, queries, 0, top, options, keys.data());
    right = right && keys == expected;
  }
  for (const auto& pair : sac::within_bytes_cpu(parts, nullptr, 0, models, limit, options)) {
    right = right && pair.query < pair.model && pair.sum == sum(pair.query, pair.model) && pair.sum <= limit;
    --within;
  }
  return right && within == 0;
}
