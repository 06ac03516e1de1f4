// Integer division that rounds up, of numbers ≥ 0.
#pragma once

#include "sac/detail/host_device.h"

namespace sac {

template <typename X, typename Y>
SAC_HOST_DEVICE constexpr auto ceil_div(X x, Y y) {
  return (x + y - 1) / y;
}

// The smallest multiple of `step` that is not below x.
template <typename X, typename Y>
SAC_HOST_DEVICE constexpr auto round_up(X x, Y step) {
  return ceil_div(x, step) * step;
}

}  // namespace sac
