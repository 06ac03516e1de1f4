// The smallest keys of many lists, to which several threads add.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <limits>
#include <memory>
#include <vector>

namespace sac {

// A list takes keys until it holds half as many again as are wanted, then drops all but the smallest: an addition
// costs a few comparisons, however many are wanted. The result does not depend on the order of the additions.
class KeyLists {
 public:
  KeyLists(std::int64_t lists, std::int64_t top)
      : top_(top),
        capacity_(top + std::max<std::int64_t>(top / 2, 16)),
        keys_(new std::uint64_t[static_cast<std::size_t>(lists * capacity_)]),
        state_(new State[static_cast<std::size_t>(lists)]) {}

  // Sums above it are not among the smallest.
  std::int32_t limit(std::int64_t list) const { return state_[list].limit.load(std::memory_order_relaxed); }

  void add(std::int64_t list, std::uint64_t key) {
    State& state = state_[list];
    while (state.busy.test_and_set(std::memory_order_acquire)) {
    }
    if (static_cast<std::int32_t>(key >> 32) <= state.limit.load(std::memory_order_relaxed)) {
      std::uint64_t* keys = keys_.get() + list * capacity_;
      keys[state.count++] = key;
      if (state.count == capacity_) {
        std::nth_element(keys, keys + top_ - 1, keys + capacity_);
        state.count = top_;
        state.limit.store(static_cast<std::int32_t>(keys[top_ - 1] >> 32), std::memory_order_relaxed);
      }
    }
    state.busy.clear(std::memory_order_release);
  }

  // The smallest keys, ascending; a list that was given fewer ends with the largest key.
  void write(std::int64_t list, std::uint64_t* out) {
    std::uint64_t* keys = keys_.get() + list * capacity_;
    const std::int64_t count = state_[list].count, kept = std::min(count, top_);
    std::partial_sort(keys, keys + kept, keys + count);
    std::fill(std::copy(keys, keys + kept, out), out + top_, std::numeric_limits<std::uint64_t>::max());
  }

 private:
  struct State {
    std::atomic_flag busy = ATOMIC_FLAG_INIT;
    std::atomic<std::int32_t> limit{std::numeric_limits<std::int32_t>::max()};
    std::int64_t count = 0;
  };
  std::int64_t top_, capacity_;
  std::unique_ptr<std::uint64_t[]> keys_;
  std::unique_ptr<State[]> state_;
};

}  // namespace sac
