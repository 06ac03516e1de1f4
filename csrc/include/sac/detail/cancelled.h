// Thrown by the CPU kernels when CpuOptions::cancelled returned true. The outputs are then unspecified.
#pragma once

namespace sac {

struct Cancelled {};

}  // namespace sac
