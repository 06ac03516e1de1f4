// Runs tasks on threads that end with the call: no thread pool breaks after fork, and no second OpenMP runtime is
// loaded beside torch's.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "sac/detail/cancelled.h"
#include "sac/detail/cpu_options.h"

namespace sac {

// Multiplications below which a second thread costs more than it saves (starting one takes about 30 µs, far more on
// shared cores).
constexpr double kFlopsPerThread = 7e6;

inline int useful_threads(double flops, int threads) {
  return std::max(1, static_cast<int>(std::min<double>(threads, flops / kFlopsPerThread)));
}

// task(i) for i in [0, tasks), in any order. The calling thread works too, and polls options.cancelled. Throws
// Cancelled, or the first exception of a task (any of them may run out of memory), after all threads have stopped.
template <typename Task>
void parallel_for(std::int64_t tasks, int threads, const CpuOptions& options, const Task& task) {
  std::atomic<std::int64_t> next{0};
  std::atomic<bool> stop{false};
  std::exception_ptr failed;
  std::mutex guard;
  const auto run_next = [&] {
    const std::int64_t i = stop.load(std::memory_order_relaxed) ? tasks : next.fetch_add(1);
    if (i >= tasks) return false;
    try {
      task(i);
    } catch (...) {
      const std::lock_guard<std::mutex> lock(guard);
      if (!failed) failed = std::current_exception();
      stop.store(true);
    }
    return true;
  };
  std::vector<std::thread> others;
  const std::int64_t wanted = threads < tasks ? threads : tasks;
  others.reserve(static_cast<std::size_t>(std::max<std::int64_t>(wanted, 1)));
  try {
    for (std::int64_t t = 1; t < wanted; ++t)
      others.emplace_back([&] {
        while (run_next()) {
        }
      });
  } catch (const std::exception&) {
    // The system refuses more threads: those that run, and this one, do all tasks.
  }
  using Clock = std::chrono::steady_clock;
  auto last_poll = Clock::now();
  bool cancelled = false;
  while (run_next())
    if (options.cancelled && Clock::now() - last_poll > std::chrono::milliseconds(50)) {
      if (options.cancelled()) stop.store(cancelled = true);
      last_poll = Clock::now();
    }
  for (auto& thread : others) thread.join();
  if (failed) std::rethrow_exception(failed);
  if (cancelled) throw Cancelled{};
}

}  // namespace sac
