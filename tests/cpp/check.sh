#!/usr/bin/env bash
# Builds and runs the C++ checks with presets of CMakePresets.json. Usage: tests/cpp/check.sh [PRESET …] (default: all)
set -euo pipefail
cd "$(dirname "$0")/../.."
[ $# -gt 0 ] || set -- release sanitize clang aarch64
for preset in "$@"; do
  printf '\n== %s\n' "$preset"
  cmake -S tests/cpp --preset "$preset" >/dev/null
  cmake --build "build/cpp-$preset" | tail -n 1
  ctest --test-dir "build/cpp-$preset" --output-on-failure --no-tests=error
done
