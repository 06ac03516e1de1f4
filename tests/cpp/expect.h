// What a check expects; failures are printed and counted.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstdio>

namespace expectations {

inline int failures = 0;

inline void expect(bool holds, const char* what) {
  if (holds) return;
  std::printf("%s\n", what);
  ++failures;
}

inline void expect_near(double actual, double expected, double tolerance, const char* what, std::int64_t n,
                        std::int64_t k) {
  if (std::fabs(actual - expected) <= tolerance) return;
  std::printf("%s n=%ld k=%ld: expected %.9g, got %.9g\n", what, static_cast<long>(n), static_cast<long>(k), expected,
              actual);
  ++failures;
}

}  // namespace expectations
