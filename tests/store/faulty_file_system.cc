#include "tests/store/faulty_file_system.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <system_error>
#include <utility>

#include "common/base/check.h"
#include "rocksdb/system_clock.h"

namespace ilre {
namespace {

std::optional<std::string> Content(const std::string& name) {
  std::ifstream in(name, std::ios::binary);
  if (!in) return std::nullopt;
  return std::string(std::istreambuf_iterator<char>(in), {});
}

void Replace(const std::string& name, const std::string& content) {
  std::ofstream(name, std::ios::binary | std::ios::trunc) << content;
}

// Spoils one of the bytes [begin, end) of a file.
void Spoil(const std::string& name, uint64_t begin, uint64_t end, Random* random) {
  std::string content = *Content(name);
  content[begin + random->Below(end - begin)] ^= 0x55;
  Replace(name, content);
}

class QuickClock final : public rocksdb::SystemClockWrapper {
 public:
  QuickClock() : SystemClockWrapper(SystemClock::Default()) {}
  const char* Name() const override { return "QuickClock"; }
  void SleepForMicroseconds(int micros) override { SystemClockWrapper::SleepForMicroseconds(micros / 1000); }
};

class FaultyEnv final : public rocksdb::EnvWrapper {
 public:
  explicit FaultyEnv(const std::shared_ptr<FaultyFileSystem>& files) : EnvWrapper(rocksdb::NewCompositeEnv(files)) {
    file_system_ = files;
    system_clock_ = std::make_shared<QuickClock>();
  }
};

}  // namespace

class FaultyFile final : public rocksdb::FSWritableFileOwnerWrapper {
 public:
  FaultyFile(FaultyFileSystem* files, std::string name, uint64_t size, std::unique_ptr<rocksdb::FSWritableFile> target)
      : FSWritableFileOwnerWrapper(std::move(target)), files_(files), name_(std::move(name)), size_(size) {}

  rocksdb::IOStatus Append(const rocksdb::Slice& data, const rocksdb::IOOptions& options,
                           rocksdb::IODebugContext* debug) override {
    if (auto error = files_->Fail(FaultyFileSystem::Call::kAppend)) {
      const bool is_short = error->ToString().find("short") != std::string::npos;
      if (is_short) AppendAll(rocksdb::Slice(data.data(), data.size() / 2), options, debug).PermitUncheckedError();
      return *error;
    }
    return AppendAll(data, options, debug);
  }
  rocksdb::IOStatus Append(const rocksdb::Slice& data, const rocksdb::IOOptions& options,
                           const rocksdb::DataVerificationInfo&, rocksdb::IODebugContext* debug) override {
    return Append(data, options, debug);
  }
  rocksdb::IOStatus PositionedAppend(const rocksdb::Slice& data, uint64_t offset, const rocksdb::IOOptions& options,
                                     rocksdb::IODebugContext* debug) override {
    if (auto error = files_->Fail(FaultyFileSystem::Call::kAppend)) return *error;
    return FSWritableFileOwnerWrapper::PositionedAppend(data, offset, options, debug);
  }
  rocksdb::IOStatus Sync(const rocksdb::IOOptions&, rocksdb::IODebugContext*) override { return SyncAll(); }
  rocksdb::IOStatus Fsync(const rocksdb::IOOptions&, rocksdb::IODebugContext*) override { return SyncAll(); }
  rocksdb::IOStatus RangeSync(uint64_t, uint64_t, const rocksdb::IOOptions&, rocksdb::IODebugContext*) override {
    return rocksdb::IOStatus::OK();
  }
  rocksdb::IOStatus Truncate(uint64_t size, const rocksdb::IOOptions& options,
                             rocksdb::IODebugContext* debug) override {
    if (auto error = files_->Fail(FaultyFileSystem::Call::kOther)) return *error;
    rocksdb::IOStatus status = FSWritableFileOwnerWrapper::Truncate(size, options, debug);
    if (status.ok()) files_->Written(name_, size_ = size);
    return status;
  }

 private:
  rocksdb::IOStatus AppendAll(const rocksdb::Slice& data, const rocksdb::IOOptions& options,
                              rocksdb::IODebugContext* debug) {
    rocksdb::IOStatus status = FSWritableFileOwnerWrapper::Append(data, options, debug);
    if (status.ok()) files_->Written(name_, size_ += data.size());
    return status;
  }
  rocksdb::IOStatus SyncAll() {
    if (auto error = files_->Fail(FaultyFileSystem::Call::kSync)) return *error;
    files_->Synced(name_);
    return rocksdb::IOStatus::OK();
  }

  FaultyFileSystem* const files_;
  const std::string name_;
  uint64_t size_;
};

class FaultyDirectory final : public rocksdb::FSDirectoryWrapper {
 public:
  FaultyDirectory(FaultyFileSystem* files, std::unique_ptr<rocksdb::FSDirectory> target)
      : FSDirectoryWrapper(std::move(target)), files_(files) {}
  rocksdb::IOStatus Fsync(const rocksdb::IOOptions&, rocksdb::IODebugContext*) override {
    if (auto error = files_->Fail(FaultyFileSystem::Call::kSync)) return *error;
    files_->FolderSynced();
    return rocksdb::IOStatus::OK();
  }
  rocksdb::IOStatus FsyncWithDirOptions(const rocksdb::IOOptions& options, rocksdb::IODebugContext* debug,
                                        const rocksdb::DirFsyncOptions&) override {
    return Fsync(options, debug);
  }

 private:
  FaultyFileSystem* const files_;
};

void FaultyFileSystem::Arm(Fault fault, int after, int count) {
  absl::MutexLock lock(&mutex_);
  armed_ = {fault, after, count};
  num_injected_ = 0;
}

void FaultyFileSystem::Heal() {
  absl::MutexLock lock(&mutex_);
  armed_.reset();
}

int FaultyFileSystem::num_injected() const {
  absl::MutexLock lock(&mutex_);
  return num_injected_;
}

std::optional<rocksdb::IOStatus> FaultyFileSystem::Fail(Call call) {
  absl::MutexLock lock(&mutex_);
  if (!powered_) return rocksdb::IOStatus::IOError("the power is off");
  if (!armed_.has_value()) return std::nullopt;
  const Fault fault = armed_->fault;
  const bool concerned =
      fault == Fault::kInputOutput || (fault == Fault::kNoSpace && (call == Call::kAppend || call == Call::kCreate)) ||
      (fault == Fault::kShortWrite && call == Call::kAppend) || (fault == Fault::kSync && call == Call::kSync);
  if (!concerned) return std::nullopt;
  if (armed_->after > 0) {
    --armed_->after;
    return std::nullopt;
  }
  if (armed_->count == 0) return std::nullopt;
  --armed_->count;
  ++num_injected_;
  if (fault == Fault::kNoSpace) return rocksdb::IOStatus::NoSpace("injected");
  return rocksdb::IOStatus::IOError(fault == Fault::kShortWrite ? "injected short write" : "injected");
}

void FaultyFileSystem::Written(const std::string& name, uint64_t size) {
  absl::MutexLock lock(&mutex_);
  Size& now = sizes_[name];
  now.written = size;
  now.synced = std::min(now.synced, size);
}

void FaultyFileSystem::Synced(const std::string& name) {
  absl::MutexLock lock(&mutex_);
  Size& size = sizes_[name];
  size.synced = size.written;
}

void FaultyFileSystem::FolderSynced() {
  absl::MutexLock lock(&mutex_);
  created_.clear();
  renames_.clear();
}

void FaultyFileSystem::CutPower() {
  absl::MutexLock lock(&mutex_);
  powered_ = false;
}

void FaultyFileSystem::RestorePower(Loss loss, Random* random) {
  absl::MutexLock lock(&mutex_);
  const auto lost = [&] { return loss == Loss::kAll || random->Below(2) == 0; };
  std::error_code gone;
  for (const auto& [name, size] : sizes_) {
    if (size.synced == size.written || !std::filesystem::exists(name, gone)) continue;
    const uint64_t kept =
        loss == Loss::kAll ? size.synced : size.synced + random->Below(size.written - size.synced + 1);
    std::filesystem::resize_file(name, kept);
    if (kept > size.synced && random->Below(3) == 0) Spoil(name, size.synced, kept, random);
  }
  for (size_t i = renames_.size(); i-- > 0;) {
    if (!lost()) break;  // a journal keeps their order
    std::filesystem::remove(renames_[i].to, gone);
    if (renames_[i].replaced.has_value()) Replace(renames_[i].to, *renames_[i].replaced);
  }
  for (const std::string& name : created_) {
    if (lost()) std::filesystem::remove(name, gone);
  }
  sizes_.clear();
  created_.clear();
  renames_.clear();
  armed_.reset();
  powered_ = true;
}

rocksdb::IOStatus FaultyFileSystem::NewWritableFile(const std::string& name, const rocksdb::FileOptions& options,
                                                    std::unique_ptr<rocksdb::FSWritableFile>* file,
                                                    rocksdb::IODebugContext* debug) {
  if (auto error = Fail(Call::kCreate)) return *error;
  std::unique_ptr<rocksdb::FSWritableFile> made;
  rocksdb::IOStatus status = FileSystemWrapper::NewWritableFile(name, options, &made, debug);
  if (!status.ok()) return status;
  absl::MutexLock lock(&mutex_);
  sizes_[name] = {};
  created_.insert(name);
  *file = std::make_unique<FaultyFile>(this, name, 0, std::move(made));
  return status;
}

rocksdb::IOStatus FaultyFileSystem::ReopenWritableFile(const std::string& name, const rocksdb::FileOptions& options,
                                                       std::unique_ptr<rocksdb::FSWritableFile>* file,
                                                       rocksdb::IODebugContext* debug) {
  if (auto error = Fail(Call::kOther)) return *error;
  std::unique_ptr<rocksdb::FSWritableFile> made;
  rocksdb::IOStatus status = FileSystemWrapper::ReopenWritableFile(name, options, &made, debug);
  if (!status.ok()) return status;
  absl::MutexLock lock(&mutex_);
  *file = std::make_unique<FaultyFile>(this, name, sizes_[name].written, std::move(made));
  return status;
}

rocksdb::IOStatus FaultyFileSystem::NewDirectory(const std::string& name, const rocksdb::IOOptions& options,
                                                 std::unique_ptr<rocksdb::FSDirectory>* directory,
                                                 rocksdb::IODebugContext* debug) {
  std::unique_ptr<rocksdb::FSDirectory> made;
  rocksdb::IOStatus status = FileSystemWrapper::NewDirectory(name, options, &made, debug);
  if (status.ok()) *directory = std::make_unique<FaultyDirectory>(this, std::move(made));
  return status;
}

rocksdb::IOStatus FaultyFileSystem::RenameFile(const std::string& from, const std::string& to,
                                               const rocksdb::IOOptions& options, rocksdb::IODebugContext* debug) {
  if (auto error = Fail(Call::kOther)) return *error;
  const bool exists = std::filesystem::exists(to);
  absl::MutexLock lock(&mutex_);
  renames_.push_back({to, exists ? Content(to) : std::nullopt});
  sizes_[to] = sizes_[from];
  sizes_.erase(from);
  created_.erase(from);
  return FileSystemWrapper::RenameFile(from, to, options, debug);
}

rocksdb::IOStatus FaultyFileSystem::DeleteFile(const std::string& name, const rocksdb::IOOptions& options,
                                               rocksdb::IODebugContext* debug) {
  if (auto error = Fail(Call::kOther)) return *error;
  absl::MutexLock lock(&mutex_);
  sizes_.erase(name);
  created_.erase(name);
  return FileSystemWrapper::DeleteFile(name, options, debug);
}

std::unique_ptr<rocksdb::Env> NewFaultyEnv(const std::shared_ptr<FaultyFileSystem>& files) {
  return std::make_unique<FaultyEnv>(files);
}

}  // namespace ilre
