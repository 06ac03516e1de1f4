#include "cpu/kernels/correlation.h"

namespace sac {

bool has_instruction_set(InstructionSet set) {
#ifdef SAC_X86_64
  if (set == InstructionSet::avx512)
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl");
  if (set == InstructionSet::avx2) return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#endif
  return set == InstructionSet::portable;
}

const Kernels& kernels_for(InstructionSet set) {
#ifdef SAC_X86_64
  if (set == InstructionSet::avx512) return kernels_avx512;
  if (set == InstructionSet::avx2) return kernels_avx2;
#endif
  (void)set;
  return kernels_portable;
}

}  // namespace sac
