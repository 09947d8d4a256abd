#include "common/store/store_cut.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "common/base/errors.h"
#include "common/base/file.h"
#include "common/base/status_macros.h"
#include "common/store/rocksdb_status.h"

namespace ilre {
namespace {

constexpr uint64_t kMaxCurrentBytes = 4096;
constexpr int kAttempts = 200;
constexpr absl::Duration kLongestPause = absl::Milliseconds(20);

std::string FilePath(const std::string& path, absl::string_view name) { return absl::StrCat(path, "/", name); }

absl::Status Damaged(const std::string& path, absl::string_view what) {
  return MakeError(absl::StatusCode::kDataLoss, "STORE_DAMAGED",
                   absl::StrCat("cannot open the store in ", path, ": ", what));
}

// Sets the three members of `cut` that say where the manifest is. NOT_FOUND without a reason where it went away.
absl::Status FindManifest(const std::string& path, StoreCut* cut) {
  const absl::StatusOr<std::string> current = ReadFile(FilePath(path, "CURRENT"), kMaxCurrentBytes);
  if (absl::IsNotFound(current.status())) {
    return MakeError(absl::StatusCode::kNotFound, "NO_STORE", absl::StrCat("there is no store in ", path));
  }
  ILRE_RETURN_IF_ERROR(current.status());
  const absl::string_view name = absl::StripSuffix(*current, "\n");
  if (!absl::StartsWith(name, "MANIFEST-") || absl::StrContains(name, "/") || absl::StrContains(name, '\0')) {
    return Damaged(path, "CURRENT names no manifest");
  }
  cut->current = *current;
  cut->manifest_name = std::string(name);
  absl::StatusOr<std::shared_ptr<const CutFile>> manifest = CutFile::Open(FilePath(path, name));
  if (absl::IsNotFound(manifest.status())) {
    const absl::StatusOr<std::string> again = ReadFile(FilePath(path, "CURRENT"), kMaxCurrentBytes);
    if (again.ok() && *again == *current) return Damaged(path, absl::StrCat(name, " is missing"));
    return absl::NotFoundError("the manifest was replaced");
  }
  ILRE_ASSIGN_OR_RETURN(cut->manifest, std::move(manifest));
  return absl::OkStatus();
}

// 000123.log and the like.
bool IsNumbered(absl::string_view name, absl::string_view extension) {
  if (!absl::ConsumeSuffix(&name, extension) || name.empty()) return false;
  return std::all_of(name.begin(), name.end(), absl::ascii_isdigit);
}

absl::StatusOr<std::vector<std::string>> ListFiles(const std::string& path) {
  std::vector<std::string> names;
  std::error_code error;
  for (std::filesystem::directory_iterator file(path, error), end; !error && file != end; file.increment(error)) {
    names.push_back(file->path().filename().string());
  }
  if (error) return ErrnoError(error.value(), absl::StrCat("cannot list ", path));
  return names;
}

// Adds table `name`, unless it is gone, which is then no table of this manifest.
absl::Status AddTable(const std::string& path, const std::string& name, const StoreCut* before, StoreCut* cut) {
  const std::string file = FilePath(path, name);
  struct stat info = {};
  if (::stat(file.c_str(), &info) != 0) {
    return errno == ENOENT ? absl::OkStatus() : ErrnoError(errno, absl::StrCat("cannot open ", file));
  }
  CutTable table = {nullptr, static_cast<uint64_t>(info.st_size), info.st_dev, info.st_ino};
  if (table.bytes == 0) return absl::OkStatus();  // one that is only just being written
  if (before != nullptr) {
    const auto old = before->tables.find(name);
    if (old != before->tables.end() && old->second.bytes == table.bytes && old->second.device == table.device &&
        old->second.inode == table.inode) {
      cut->tables.insert(*old);
      return absl::OkStatus();
    }
  }
  rocksdb::FileOptions options;
  options.use_mmap_reads = true;
  std::unique_ptr<rocksdb::FSRandomAccessFile> opened;
  const rocksdb::Status status =
      rocksdb::FileSystem::Default()->NewRandomAccessFile(file, options, &opened, /*dbg=*/nullptr);
  if (status.IsNotFound() || status.IsPathNotFound()) return absl::OkStatus();
  ILRE_RETURN_IF_ERROR(FromRocksdb(status, absl::StrCat("cannot open ", file)));
  table.file = std::move(opened);
  cut->tables.emplace(name, std::move(table));
  return absl::OkStatus();
}

absl::Status AddFiles(const std::string& path, const StoreCut* before, StoreCut* cut) {
  ILRE_ASSIGN_OR_RETURN(const std::vector<std::string> names, ListFiles(path));
  // The tables of a manifest are the same for as long as it is.
  const bool same_tables = before != nullptr && cut->SameManifest(*before);
  if (same_tables) cut->tables = before->tables;
  for (const std::string& name : names) {
    if (!same_tables && IsNumbered(name, ".sst")) ILRE_RETURN_IF_ERROR(AddTable(path, name, before, cut));
    if (!IsNumbered(name, ".log")) continue;
    absl::StatusOr<std::shared_ptr<const CutFile>> log = CutFile::Open(FilePath(path, name));
    if (absl::IsNotFound(log.status())) continue;  // the manifest does not need it, or is another by now
    ILRE_ASSIGN_OR_RETURN(cut->logs[name], std::move(log));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::shared_ptr<const CutFile>> CutFile::Open(const std::string& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return ErrnoError(errno, absl::StrCat("cannot open ", path));
  struct stat info = {};
  if (::fstat(descriptor, &info) != 0) {
    const int error = errno;
    ::close(descriptor);
    return ErrnoError(error, absl::StrCat("cannot open ", path));
  }
  return std::shared_ptr<const CutFile>(
      new CutFile(descriptor, static_cast<uint64_t>(info.st_size), info.st_dev, info.st_ino));
}

CutFile::~CutFile() { ::close(descriptor_); }

absl::StatusOr<size_t> CutFile::Read(uint64_t offset, size_t size, char* buffer) const {
  size = static_cast<size_t>(std::min<uint64_t>(size, bytes_ - std::min(offset, bytes_)));
  size_t done = 0;
  while (done < size) {
    const ssize_t got = ::pread(descriptor_, buffer + done, size - done, static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return ErrnoError(errno, "cannot read a file of the store");
    if (got == 0) break;  // it was cut off since
    done += static_cast<size_t>(got);
  }
  return done;
}

bool StoreCut::SameManifest(const StoreCut& other) const {
  return current == other.current && manifest->SameAs(*other.manifest);
}

bool StoreCut::SameAs(const StoreCut& other) const {
  const auto same_log = [](const auto& a, const auto& b) { return a.first == b.first && a.second->SameAs(*b.second); };
  return SameManifest(other) && std::equal(logs.begin(), logs.end(), other.logs.begin(), other.logs.end(), same_log);
}

absl::StatusOr<StoreCut> TakeStoreCut(const std::string& path, const StoreCut* before) {
  absl::Duration pause = absl::Milliseconds(1);
  for (int attempt = 1; attempt <= kAttempts; ++attempt) {
    StoreCut cut, after;
    absl::Status found = FindManifest(path, &cut);
    if (found.ok()) {
      ILRE_RETURN_IF_ERROR(AddFiles(path, before, &cut));
      found = FindManifest(path, &after);
      if (found.ok() && cut.SameManifest(after)) return cut;
    }
    if (!found.ok() && !(absl::IsNotFound(found) && ErrorReason(found).empty())) return found;
    absl::SleepFor(pause);
    pause = std::min(2 * pause, kLongestPause);
  }
  return MakeError(absl::StatusCode::kUnavailable, "STORE_UNAVAILABLE",
                   absl::StrCat("the store in ", path, " changes too fast to be read"));
}

}  // namespace ilre
