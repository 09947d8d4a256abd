// Files that fail on purpose, and that lose at a "power cut" what was not synced.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "common/base/random.h"
#include "rocksdb/env.h"
#include "rocksdb/file_system.h"

namespace ilre {

enum class Fault {
  kInputOutput,  // every writing call: EIO
  kNoSpace,      // calls that need space: ENOSPC
  kShortWrite,   // appends: half is written, then EIO
  kSync,         // syncs of files and folders: EIO; what they should have synced stays unsynced
};

// What a power cut leaves of bytes that were written and not synced.
enum class Loss { kAll, kRandom };

// Real files below, whose syncs cost nothing. Thread-safe.
class FaultyFileSystem final : public rocksdb::FileSystemWrapper {
 public:
  FaultyFileSystem() : FileSystemWrapper(rocksdb::FileSystem::Default()) {}
  static const char* kClassName() { return "FaultyFileSystem"; }
  const char* Name() const override { return kClassName(); }

  // Lets calls that `fault` concerns fail: after `after` of them, `count` of them.
  void Arm(Fault fault, int after, int count);
  void Heal();
  int num_injected() const;

  // From now on every writing call fails and does nothing.
  void CutPower();
  // Takes away what was not synced; to be called once nobody uses the files any more. Faults are healed.
  void RestorePower(Loss loss, Random* random);

  rocksdb::IOStatus NewWritableFile(const std::string& name, const rocksdb::FileOptions& options,
                                    std::unique_ptr<rocksdb::FSWritableFile>* file,
                                    rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus ReopenWritableFile(const std::string& name, const rocksdb::FileOptions& options,
                                       std::unique_ptr<rocksdb::FSWritableFile>* file,
                                       rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus NewDirectory(const std::string& name, const rocksdb::IOOptions& options,
                                 std::unique_ptr<rocksdb::FSDirectory>* directory,
                                 rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus RenameFile(const std::string& from, const std::string& to, const rocksdb::IOOptions& options,
                               rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus DeleteFile(const std::string& name, const rocksdb::IOOptions& options,
                               rocksdb::IODebugContext* debug) override;

 private:
  friend class FaultyFile;
  friend class FaultyDirectory;
  enum class Call { kCreate, kAppend, kSync, kOther };

  // The error that this call shall end with, if any.
  std::optional<rocksdb::IOStatus> Fail(Call call);
  void Written(const std::string& name, uint64_t size);
  void Synced(const std::string& name);
  void FolderSynced();

  struct Armed {
    Fault fault;
    int after, count;
  };
  struct Rename {
    std::string to;
    std::optional<std::string> replaced;  // content
  };
  mutable absl::Mutex mutex_;
  std::optional<Armed> armed_ ABSL_GUARDED_BY(mutex_);
  int num_injected_ ABSL_GUARDED_BY(mutex_) = 0;
  bool powered_ ABSL_GUARDED_BY(mutex_) = true;
  struct Size {
    uint64_t written = 0, synced = 0;
  };
  std::map<std::string, Size> sizes_ ABSL_GUARDED_BY(mutex_);
  std::set<std::string> created_ ABSL_GUARDED_BY(mutex_);  // and their folder not synced since
  std::vector<Rename> renames_ ABSL_GUARDED_BY(mutex_);    // likewise
};

// `files` for RocksDB, which waits a thousandth of the second that it would wait after an error in the background.
std::unique_ptr<rocksdb::Env> NewFaultyEnv(const std::shared_ptr<FaultyFileSystem>& files);

}  // namespace ilre
