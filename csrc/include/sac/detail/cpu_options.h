// How a CPU kernel runs.
#pragma once

#include <functional>

#include "sac/detail/instruction_set.h"

namespace sac {

struct CpuOptions {
  int threads = 1;
  InstructionSet instruction_set = InstructionSet::portable;
  // Polled about every 50 ms by the calling thread; true makes the kernel throw Cancelled.
  std::function<bool()> cancelled;
};

}  // namespace sac
