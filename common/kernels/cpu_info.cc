#include "common/kernels/cpu_info.h"

#include <fstream>
#include <thread>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "common/kernels/cpu_info.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace ilre::kernels::HWY_NAMESPACE {

const char* TargetOfThisCode() { return hwy::TargetName(HWY_TARGET); }

}  // namespace ilre::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ilre::kernels {
namespace {

// The processor's name as the kernel of Linux knows it.
std::string ModelName() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    if (!absl::StartsWith(line, "model name")) continue;
    const size_t colon = line.find(':');
    if (colon != std::string::npos) return std::string(absl::StripAsciiWhitespace(line.substr(colon + 1)));
  }
  return "unknown processor";
}

}  // namespace

HWY_EXPORT(TargetOfThisCode);

std::string KernelTarget() { return HWY_DYNAMIC_DISPATCH(TargetOfThisCode)(); }

std::string CpuDescription() {
  return absl::StrCat(ModelName(), ", ", std::thread::hardware_concurrency(), " CPUs, kernels ", KernelTarget());
}

}  // namespace ilre::kernels
#endif  // HWY_ONCE
