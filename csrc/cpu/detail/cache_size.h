// Sizes of the caches, for choices that never change a result.
#pragma once

#include <algorithm>
#include <cstdint>

#if defined(__linux__)
#include <unistd.h>
#endif

namespace sac {

// Bytes of a core's L2 cache: 512 KiB … 4 MiB; the smallest where the system does not tell.
inline std::int64_t l2_cache_bytes() {
  static const std::int64_t bytes = [] {
    std::int64_t told = 0;
#if defined(_SC_LEVEL2_CACHE_SIZE)
    told = sysconf(_SC_LEVEL2_CACHE_SIZE);
#endif
    return std::clamp<std::int64_t>(told, 512 << 10, 4 << 20);
  }();
  return bytes;
}

}  // namespace sac
