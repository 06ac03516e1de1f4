// Runs tasks on the threads of worker_pool.h.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <exception>
#include <mutex>

#include "cpu/detail/worker_pool.h"
#include "sac/detail/cancelled.h"
#include "sac/detail/cpu_options.h"

namespace sac {

// Multiplications below which a second thread costs more than it saves (waking one takes some 10 µs).
constexpr double kFlopsPerThread = 3e6;

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
  using RunNext = decltype(run_next);
  SharedWork work{[](void* context) { return (*static_cast<RunNext*>(context))(); },
                  const_cast<void*>(static_cast<const void*>(&run_next))};
  const auto helpers = static_cast<int>(std::min<std::int64_t>(threads, tasks)) - 1;
  if (helpers > 0) WorkerPool::instance().offer(work, helpers);
  using Clock = std::chrono::steady_clock;
  auto last_poll = Clock::now();
  bool cancelled = false;
  while (run_next())
    if (options.cancelled && Clock::now() - last_poll > std::chrono::milliseconds(50)) {
      if (options.cancelled()) stop.store(cancelled = true);
      last_poll = Clock::now();
    }
  if (helpers > 0) WorkerPool::instance().withdraw(work);
  if (failed) std::rethrow_exception(failed);
  if (cancelled) throw Cancelled{};
}

}  // namespace sac
