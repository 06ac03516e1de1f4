// Runs numbered tasks on a few threads that live for one call: nothing survives a fork, and no OpenMP runtime
// is loaded beside torch's own.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <system_error>
#include <thread>
#include <vector>

#include "sac/correlation_distance.h"

namespace sac {

// Work of n² products of k numbers below which a second thread costs more than it brings (starting one takes some 30
// µs, far more where cores are shared).
constexpr double kFlopsPerThread = 7e6;

inline int useful_threads(double flops, int threads) {
  return std::max(1, static_cast<int>(std::min<double>(threads, flops / kFlopsPerThread)));
}

// task(i) for i in [0, tasks), in any order. The calling thread works too, and asks options.cancelled now and
// then. Throws Cancelled once all threads have stopped. `task` must not throw.
template <typename Task>
void parallel_for(std::int64_t tasks, int threads, const CpuOptions& options, const Task& task) {
  std::atomic<std::int64_t> next{0};
  std::atomic<bool> stop{false};
  const auto work = [&] {
    for (std::int64_t i; !stop.load(std::memory_order_relaxed) && (i = next.fetch_add(1)) < tasks;) task(i);
  };
  std::vector<std::thread> others;
  const std::int64_t wanted = threads < tasks ? threads : tasks;
  try {
    for (std::int64_t t = 1; t < wanted; ++t) others.emplace_back(work);
  } catch (const std::system_error&) {
    // No more threads to be had: those that run, and this one, do it all.
  }
  using Clock = std::chrono::steady_clock;
  auto last_asked = Clock::now();
  for (std::int64_t i; !stop.load(std::memory_order_relaxed) && (i = next.fetch_add(1)) < tasks;) {
    task(i);
    if (options.cancelled && Clock::now() - last_asked > std::chrono::milliseconds(50)) {
      if (options.cancelled()) stop.store(true);
      last_asked = Clock::now();
    }
  }
  for (auto& thread : others) thread.join();
  if (stop.load()) throw Cancelled{};
}

}  // namespace sac
