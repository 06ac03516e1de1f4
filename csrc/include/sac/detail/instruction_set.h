// The instruction sets that the CPU kernels are compiled for.
#pragma once

namespace sac {

enum class InstructionSet { portable, avx2, avx512 };

// True when both this build and this processor have it.
bool has_instruction_set(InstructionSet set);

}  // namespace sac
