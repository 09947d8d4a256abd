#include "common/store/disk_probe.h"

#include <algorithm>
#include <memory>

#include "absl/strings/str_cat.h"
#include "common/base/random.h"
#include "common/base/status_macros.h"
#include "common/store/coding.h"
#include "common/store/rocksdb_status.h"
#include "rocksdb/slice.h"

namespace ilre {
namespace {

constexpr size_t kPieceBytes = 64 << 10;

absl::Status WriteFile(const std::string& file, uint64_t bytes, rocksdb::Env* env) {
  const std::string what = absl::StrCat("cannot write to ", file);
  std::unique_ptr<rocksdb::WritableFile> out;
  ILRE_RETURN_IF_ERROR(FromRocksdb(env->NewWritableFile(file, &out, rocksdb::EnvOptions()), what));
  Random random(bytes);  // what a file system cannot compress
  for (uint64_t done = 0; done < bytes;) {
    std::string piece;
    while (piece.size() < std::min<uint64_t>(kPieceBytes, bytes - done)) AppendLittle(&piece, random.Next());
    ILRE_RETURN_IF_ERROR(FromRocksdb(out->Append(piece), what));
    done += piece.size();
  }
  ILRE_RETURN_IF_ERROR(FromRocksdb(out->Fsync(), what));
  return FromRocksdb(out->Close(), what);
}

}  // namespace

absl::Status ProbeDisk(const std::string& path, uint64_t bytes, rocksdb::Env* env) {
  const std::string file = absl::StrCat(path, "/PROBE");
  const absl::Status written = WriteFile(file, bytes, env);
  const rocksdb::Status deleted = env->DeleteFile(file);
  ILRE_RETURN_IF_ERROR(written);
  return FromRocksdb(deleted, absl::StrCat("cannot delete ", file));
}

}  // namespace ilre
