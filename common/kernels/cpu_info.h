// Which processor, and which of our vector code paths: for benchmark reports and logs.
#pragma once

#include <string>

namespace ilre::kernels {

// For example "Intel(R) Xeon(R) Processor, 2 CPUs, kernels AVX3".
std::string CpuDescription();

// The Highway target that the kernels dispatch to on this machine: "AVX3" (AVX-512), "AVX2", "EMU128" (plain C++), ...
std::string KernelTarget();

}  // namespace ilre::kernels
