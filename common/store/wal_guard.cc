#include "common/store/wal_guard.h"

#include <memory>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "common/base/status_macros.h"
#include "common/store/rocksdb_status.h"
#include "rocksdb/file_system.h"
#include "rocksdb/transaction_log.h"

namespace ilre {
namespace {

// The number of a log file, which is named 000123.log.
std::optional<uint64_t> LogNumber(absl::string_view name) {
  uint64_t number = 0;
  if (!absl::EndsWith(name, ".log") || !absl::SimpleAtoi(name.substr(0, name.size() - 4), &number)) return std::nullopt;
  return number;
}

}  // namespace

absl::StatusOr<WalGuard::Position> WalGuard::Locate(rocksdb::DB* db) const {
  std::unique_ptr<rocksdb::LogFile> file;
  ILRE_RETURN_IF_ERROR(FromRocksdb(db->GetCurrentWalFile(&file), absl::StrCat("cannot read the log of ", path_)));
  return Position{.number = file->LogNumber(), .bytes = file->SizeFileBytes()};
}

void WalGuard::Mark(Position end) {
  absl::MutexLock lock(&mutex_);
  if (!end_.has_value()) end_ = end;
}

void WalGuard::Clear() {
  absl::MutexLock lock(&mutex_);
  end_.reset();
}

absl::Status WalGuard::Cut() {
  absl::MutexLock lock(&mutex_);
  if (!end_.has_value()) return absl::OkStatus();
  std::vector<std::string> names;
  ILRE_RETURN_IF_ERROR(FromRocksdb(env_->GetChildren(path_, &names), absl::StrCat("cannot list ", path_)));
  for (const std::string& name : names) {
    const std::optional<uint64_t> number = LogNumber(name);
    if (!number.has_value() || *number < end_->number) continue;
    ILRE_RETURN_IF_ERROR(CutFile(absl::StrCat(path_, "/", name), *number == end_->number ? end_->bytes : 0));
  }
  return absl::OkStatus();
}

absl::Status WalGuard::CutFile(const std::string& file, uint64_t keep_bytes) {
  const std::string what = absl::StrCat("cannot take a failed write back in ", file);
  const std::shared_ptr<rocksdb::FileSystem>& files = env_->GetFileSystem();
  uint64_t bytes = 0;
  ILRE_RETURN_IF_ERROR(FromRocksdb(env_->GetFileSize(file, &bytes), what));
  if (bytes <= keep_bytes) return absl::OkStatus();
  std::unique_ptr<rocksdb::FSWritableFile> cut;
  ILRE_RETURN_IF_ERROR(FromRocksdb(files->ReopenWritableFile(file, rocksdb::FileOptions(), &cut, nullptr), what));
  ILRE_RETURN_IF_ERROR(FromRocksdb(cut->Truncate(keep_bytes, rocksdb::IOOptions(), nullptr), what));
  ILRE_RETURN_IF_ERROR(FromRocksdb(cut->Fsync(rocksdb::IOOptions(), nullptr), what));
  return FromRocksdb(cut->Close(rocksdb::IOOptions(), nullptr), what);
}

}  // namespace ilre
