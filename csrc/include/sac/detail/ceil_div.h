// Integer division that rounds up, of numbers ≥ 0.
#pragma once

#include "sac/detail/host_device.h"

namespace sac {

template <typename Int>
SAC_HOST_DEVICE constexpr Int ceil_div(Int x, Int y) {
  return (x + y - 1) / y;
}

// The smallest multiple of `step` that is not below x.
template <typename Int>
SAC_HOST_DEVICE constexpr Int round_up(Int x, Int step) {
  return ceil_div(x, step) * step;
}

}  // namespace sac
