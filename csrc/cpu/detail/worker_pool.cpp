#include "cpu/detail/worker_pool.h"

#include <pthread.h>

#include <algorithm>
#include <chrono>
#include <exception>

namespace sac {
namespace {

std::atomic<WorkerPool*> pool{nullptr};

// The parent's pool is left as it is: its lock may have been held by a thread that the child does not have.
void forget_pool() { pool.store(nullptr); }

inline void pause_briefly() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

// Waits a little without sleeping, as most calls come one after another. Returns whether `done` came true.
template <typename Done>
bool spin(const Done& done) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::microseconds(40);
  do {
    for (int i = 0; i < 16; ++i) {
      if (done()) return true;
      pause_briefly();
    }
  } while (std::chrono::steady_clock::now() < end);
  return false;
}

}  // namespace

WorkerPool& WorkerPool::instance() {
  static const int registered = pthread_atfork(nullptr, nullptr, forget_pool);
  (void)registered;
  WorkerPool* found = pool.load();
  if (!found) {
    auto* made = new WorkerPool;  // never deleted: its threads run until the process ends
    if (pool.compare_exchange_strong(found, made))
      found = made;
    else
      delete made;
  }
  return *found;
}

void WorkerPool::offer(SharedWork& work, int helpers) {
  const std::lock_guard<std::mutex> lock(guard_);
  try {
    while (static_cast<int>(workers_.size()) < helpers) workers_.emplace_back([this] { serve(); });
  } catch (const std::exception&) {
    // The system refuses more threads: those that run, and the caller, do all of the work.
  }
  work.wanted = std::min(helpers, static_cast<int>(workers_.size()));
  if (work.wanted == 0) return;
  offers_.push_back(&work);
  pending_.fetch_add(1);
  for (int i = 0; i < work.wanted; ++i) offered_.notify_one();
}

void WorkerPool::withdraw(SharedWork& work) {
  {
    const std::lock_guard<std::mutex> lock(guard_);
    const auto place = std::find(offers_.begin(), offers_.end(), &work);
    if (place != offers_.end()) {
      offers_.erase(place);
      pending_.fetch_sub(1);
    }
  }
  const auto is_left = [&work] { return work.inside.load() == 0; };
  if (spin(is_left)) return;
  std::unique_lock<std::mutex> lock(guard_);
  left_.wait(lock, is_left);
}

SharedWork* WorkerPool::wait_for_work(std::unique_lock<std::mutex>& lock) {
  while (offers_.empty()) {
    lock.unlock();
    const bool is_pending = spin([this] { return pending_.load() > 0; });
    lock.lock();
    if (!is_pending && offers_.empty()) offered_.wait(lock);
  }
  SharedWork* work = offers_.front();
  work->inside.fetch_add(1);
  if (--work->wanted == 0) {
    offers_.pop_front();
    pending_.fetch_sub(1);
  }
  return work;
}

void WorkerPool::serve() {
  std::unique_lock<std::mutex> lock(guard_);
  for (;;) {
    SharedWork* work = wait_for_work(lock);
    lock.unlock();
    while (work->run(work->context)) {
    }
    lock.lock();
    if (work->inside.fetch_sub(1) == 1) left_.notify_all();
  }
}

}  // namespace sac
