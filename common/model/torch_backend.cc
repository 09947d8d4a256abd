#include "common/model/torch_backend.h"

#include <dlfcn.h>

#include <filesystem>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/base/errors.h"
#include "common/base/status_macros.h"

namespace ilre {
namespace {

namespace fs = std::filesystem;

constexpr char kLibrary[] = "libilre_torch.so";

absl::StatusOr<void*> LoadBackend() {
  std::error_code ignored;
  const fs::path folder = fs::read_symlink("/proc/self/exe", ignored).parent_path();
  std::string problems;
  for (const fs::path& place : {folder, folder.parent_path() / "lib" / "ilre", folder.parent_path() / "bin"}) {
    const fs::path path = place / kLibrary;
    if (!fs::exists(path, ignored)) continue;
    if (void* library = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL)) return library;
    absl::StrAppend(&problems, "; ", ::dlerror());
  }
  return MakeError(
      absl::StatusCode::kFailedPrecondition, "DEVICE_UNAVAILABLE",
      absl::StrCat("libtorch is needed for this, but ", kLibrary, " was not found near ", folder.string(), problems));
}

}  // namespace

absl::StatusOr<void*> TorchBackendFunction(const char* name) {
  static const absl::StatusOr<void*>* library = new absl::StatusOr<void*>(LoadBackend());
  ILRE_RETURN_IF_ERROR(library->status());
  if (void* function = ::dlsym(**library, name)) return function;
  return MakeError(absl::StatusCode::kFailedPrecondition, "DEVICE_UNAVAILABLE",
                   absl::StrCat(kLibrary, " is of another release: it has no ", name));
}

}  // namespace ilre
