// Threads that stay for later calls: waking one costs a few microseconds, starting one far more.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <vector>

namespace sac {

// Work that several threads share: each calls `run` until it returns false.
struct SharedWork {
  bool (*run)(void* context);
  void* context;
  int wanted = 0;              // threads that may still join
  std::atomic<int> inside{0};  // threads that have joined and not left
};

// No second OpenMP runtime beside torch's. A forked child has none of its parent's threads and starts its own. Several
// threads may call at a time: a worker that is busy joins later or never, and the caller does all that is left.
class WorkerPool {
 public:
  static WorkerPool& instance();

  // Offers the work to `helpers` workers, which are started if they are not there; the system may refuse them.
  void offer(SharedWork& work, int helpers);
  // Withdraws the offer and waits for those that have joined.
  void withdraw(SharedWork& work);

 private:
  void serve();
  SharedWork* wait_for_work(std::unique_lock<std::mutex>& lock);

  std::mutex guard_;
  std::condition_variable offered_, left_;
  std::deque<SharedWork*> offers_;
  std::atomic<int> pending_{0};  // offers, to be seen without the lock
  std::vector<std::thread> workers_;
};

}  // namespace sac
