#include "common/store/rocksdb_status.h"

#include <cerrno>
#include <cstring>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/errors.h"

namespace ilre {

absl::Status FromRocksdb(const rocksdb::Status& status, absl::string_view what) {
  if (status.ok()) return absl::OkStatus();
  const std::string text = status.ToString();
  const std::string message = absl::StrCat(what, ": ", text);
  // RocksDB has a subcode for ENOSPC alone; a used-up quota is only in the text.
  const bool quota = status.IsIOError() && absl::StrContains(text, std::strerror(EDQUOT));
  if (status.IsNoSpace() || quota) return errors::DiskFull(what);
  if (status.IsCorruption()) return MakeError(absl::StatusCode::kDataLoss, "STORE_DAMAGED", message);
  if (status.IsIOError()) return MakeError(absl::StatusCode::kUnavailable, "STORE_IO", message);
  if (status.IsBusy() || status.IsTryAgain() || status.IsShutdownInProgress() || status.IsIncomplete() ||
      status.IsTimedOut() || status.IsAborted()) {
    return MakeError(absl::StatusCode::kUnavailable, "STORE_UNAVAILABLE", message);
  }
  return MakeError(absl::StatusCode::kInternal, "STORE_INTERNAL", message);
}

bool IsLockHeld(const rocksdb::Status& status) {
  // By this process and by another: RocksDB tells neither apart from other errors but in its text.
  const std::string text = status.ToString();
  return status.IsIOError() &&
         (absl::StrContains(text, "lock hold by current process") || absl::StrContains(text, "While lock file"));
}

}  // namespace ilre
