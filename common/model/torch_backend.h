// Everything that needs libtorch lives in a library of its own, libilre_torch.so, which is loaded when it is first
// asked for: loading libtorch takes longer than most commands.
#pragma once

#include "absl/status/statusor.h"

namespace ilre {

// The address of an `extern "C"` function of libilre_torch.so, which is looked for beside the program, in ../lib/ilre
// and ../bin. The library is loaded once and stays. Thread-safe. FAILED_PRECONDITION with reason DEVICE_UNAVAILABLE,
// saying where it was looked for, if this installation has none.
absl::StatusOr<void*> TorchBackendFunction(const char* name);

}  // namespace ilre
