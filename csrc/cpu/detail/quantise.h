// Correlations as bytes: steps of 1/127.5 from −1.
#pragma once

#include <algorithm>
#include <cstdint>

namespace sac {

// Finite entries: those of normalised rows are.
template <typename T>
void quantise(const T* row, std::int64_t entries, std::uint8_t* out) {
  for (std::int64_t e = 0; e < entries; ++e) {
    const T step = row[e] * T(127.5) + T(128);
    out[e] = static_cast<std::uint8_t>(static_cast<std::int32_t>(std::min(std::max(step, T(0)), T(255))));
  }
}

}  // namespace sac
