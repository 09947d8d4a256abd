#include "common/store/manifest_seal.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "common/base/errors.h"
#include "common/base/file.h"
#include "common/base/status_macros.h"
#include "common/store/record_seal.h"

namespace ilre {
namespace {

constexpr uint64_t kMaxSmallFileBytes = 4096;
constexpr uint64_t kMaxManifestBytes = uint64_t{2} << 30;

std::string SealFile(const std::string& path) { return path + "/SEAL"; }

// The text of the seal that fits the store as it is now.
absl::StatusOr<std::string> MakeSeal(const std::string& path) {
  ILRE_ASSIGN_OR_RETURN(const std::string current, ReadFile(path + "/CURRENT", kMaxSmallFileBytes));
  const std::string name(absl::StripSuffix(current, "\n"));
  if (name.find('/') != std::string::npos) return errors::InvalidArgument("CURRENT names another folder");
  ILRE_ASSIGN_OR_RETURN(const std::string manifest, ReadFile(absl::StrCat(path, "/", name), kMaxManifestBytes));
  return absl::StrCat("ilre-seal 1 ", name, " ", manifest.size(), " ", absl::Hex(RecordChecksum(name, manifest)), "\n");
}

}  // namespace

absl::Status SealManifest(const std::string& path) {
  ILRE_ASSIGN_OR_RETURN(const std::string seal, MakeSeal(path));
  return WriteFileAtomically(SealFile(path), seal);
}

absl::Status CheckManifestSeal(const std::string& path) {
  const std::string file = SealFile(path);
  const absl::StatusOr<std::string> seal = ReadFile(file, kMaxSmallFileBytes);
  if (absl::IsNotFound(seal.status())) return absl::OkStatus();
  ILRE_RETURN_IF_ERROR(seal.status());
  const absl::StatusOr<std::string> expected = MakeSeal(path);
  if (expected.ok() && *expected == *seal) return absl::OkStatus();
  // Gone now: another process has opened the store meanwhile, which is not damage.
  if (absl::IsNotFound(ReadFile(file, kMaxSmallFileBytes).status())) return absl::OkStatus();
  return MakeError(absl::StatusCode::kDataLoss, "STORE_DAMAGED",
                   absl::StrCat("the table of contents of the store in ", path,
                                " is not as it was when the store was closed; to open it nevertheless, delete ", file));
}

absl::Status BreakManifestSeal(const std::string& path) {
  ILRE_RETURN_IF_ERROR(CheckManifestSeal(path));
  const std::string file = SealFile(path);
  if (::unlink(file.c_str()) != 0) {
    return errno == ENOENT ? absl::OkStatus() : ErrnoError(errno, absl::StrCat("cannot remove ", file));
  }
  const int folder = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const bool synced = folder >= 0 && ::fsync(folder) == 0;
  const absl::Status status = synced ? absl::OkStatus() : ErrnoError(errno, absl::StrCat("cannot sync ", path));
  if (folder >= 0) ::close(folder);
  return status;
}

}  // namespace ilre
