// csrc/cuda/detail/async_copy.cuh on the CPU. A copy overwrites its target with NaN at once and completes when it is
// waited for, or (fibers::early) completes at once: a kernel that does not wait, or copies too soon, computes wrong
// numbers here.
#pragma once

#include <cuda_runtime.h>

#include <utility>

namespace sac::ptx {

constexpr std::uint32_t kSharedBase = 1024;  // first address of shared memory in its address space

inline std::uint32_t shared_address(const void* pointer) {
  return kSharedBase + static_cast<std::uint32_t>(static_cast<const std::uint8_t*>(pointer) - fibers::shared_begin);
}
inline std::uint8_t* at(std::uint32_t address, std::uint32_t bytes) {
  const std::size_t end = fibers::shared_each;
  if (address < kSharedBase || address - kSharedBase + bytes > end || address % 16) {
    std::fprintf(stderr, "shared address %u of thread %u is wrong\n", address, threadIdx.x);
    std::abort();
  }
  return fibers::shared_begin + (address - kSharedBase);
}

// Global memory that kernels may read, as (first, last); empty: no check.
inline std::vector<std::pair<const std::uint8_t*, const std::uint8_t*>> readable;

inline bool is_readable(const void* from) {
  if (readable.empty()) return true;
  for (const auto& [first, last] : readable)
    if (from >= first && static_cast<const std::uint8_t*>(from) + 16 <= last) return true;
  return false;
}

struct PendingCopy {
  std::uint8_t* to;
  const void* from;
  bool inside;
  void complete() const { inside ? std::memcpy(to, from, 16) : std::memset(to, 0, 16); }
};
inline std::vector<std::vector<std::vector<PendingCopy>>> copy_groups(2048);  // of each thread; the last one is open

inline std::vector<std::vector<PendingCopy>>& groups_of_thread() {
  auto& groups = copy_groups[fibers::current];
  if (groups.empty()) groups.emplace_back();
  return groups;
}
inline void copy_async_16(std::uint32_t to_shared, const void* from, bool inside) {
  if (reinterpret_cast<std::uintptr_t>(from) % 16 || (inside && !is_readable(from))) {
    std::fprintf(stderr, "thread %u copies from a wrong address\n", threadIdx.x);
    std::abort();
  }
  const PendingCopy copy{at(to_shared, 16), from, inside};
  if (fibers::early) return copy.complete();
  std::memset(copy.to, 0xFF, 16);
  groups_of_thread().back().push_back(copy);
}
inline void copy_async_16(std::uint32_t to_shared, const void* from) { copy_async_16(to_shared, from, true); }
inline void copy_async_commit() { groups_of_thread().emplace_back(); }

inline void complete_groups(std::size_t remaining) {
  auto& groups = groups_of_thread();
  while (groups.size() > remaining) {
    for (const auto& copy : groups.front()) copy.complete();
    groups.erase(groups.begin());
  }
}
template <int kPending>
void copy_async_wait() {
  complete_groups(kPending + 1);
}
inline void copy_async_wait_all() { complete_groups(0); }

}  // namespace sac::ptx
