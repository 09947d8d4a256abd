#include "common/store/frozen_file_system.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <utility>

namespace ilre {
namespace {

using rocksdb::FileOptions;
using rocksdb::FSSequentialFile;
using rocksdb::FSWritableFile;
using rocksdb::IODebugContext;
using rocksdb::IOOptions;
using rocksdb::IOStatus;

constexpr char kCurrent[] = "CURRENT";
// RocksDB insists on its content, which nothing depends on.
constexpr char kIdentity[] = "IDENTITY";
constexpr char kAnyIdentity[] = "frozen";

IOStatus Missing(const std::string& name) { return IOStatus::PathNotFound(name, "not there at the cut"); }
IOStatus ReadOnly(const std::string& name) { return IOStatus::NotSupported(name, "a follower writes nothing"); }

// The manifest or a log, up to where it ended at the cut.
class CutReader final : public FSSequentialFile {
 public:
  explicit CutReader(std::shared_ptr<const CutFile> file) : file_(std::move(file)) {}
  IOStatus Read(size_t size, const IOOptions&, rocksdb::Slice* result, char* scratch, IODebugContext*) override {
    const absl::StatusOr<size_t> got = file_->Read(position_, size, scratch);
    if (!got.ok()) return IOStatus::IOError(std::string(got.status().message()));
    position_ += *got;
    *result = rocksdb::Slice(scratch, *got);
    return IOStatus::OK();
  }
  IOStatus Skip(uint64_t bytes) override {
    position_ += std::min(bytes, file_->bytes() - std::min(position_, file_->bytes()));
    return IOStatus::OK();
  }

 private:
  const std::shared_ptr<const CutFile> file_;
  uint64_t position_ = 0;
};

// A file in memory.
class StringReader final : public FSSequentialFile {
 public:
  explicit StringReader(const std::string& content) : content_(content) {}
  IOStatus Read(size_t size, const IOOptions&, rocksdb::Slice* result, char* scratch, IODebugContext*) override {
    size = std::min(size, content_.size() - position_);
    std::memcpy(scratch, content_.data() + position_, size);
    position_ += size;
    *result = rocksdb::Slice(scratch, size);
    return IOStatus::OK();
  }
  IOStatus Skip(uint64_t bytes) override {
    position_ += static_cast<size_t>(std::min<uint64_t>(bytes, content_.size() - position_));
    return IOStatus::OK();
  }

 private:
  const std::string content_;
  size_t position_ = 0;
};

// A table that several views of the store share.
class SharedTable final : public rocksdb::FSRandomAccessFileWrapper {
 public:
  explicit SharedTable(std::shared_ptr<rocksdb::FSRandomAccessFile> file)
      : FSRandomAccessFileWrapper(file.get()), file_(std::move(file)) {}

 private:
  const std::shared_ptr<rocksdb::FSRandomAccessFile> file_;
};

}  // namespace

FrozenFileSystem::FrozenFileSystem(std::string path, StoreCut cut)
    : FileSystemWrapper(rocksdb::FileSystem::Default()),
      path_(std::filesystem::path(path + "/").lexically_normal().string()),
      cut_(std::move(cut)) {}

std::string FrozenFileSystem::NameInFolder(const std::string& name) const {
  const std::string normal = std::filesystem::path(name).lexically_normal().string();
  if (normal.compare(0, path_.size(), path_) != 0) return "";
  const std::string in_folder = normal.substr(path_.size());
  return in_folder.find('/') == std::string::npos ? in_folder : "";
}

IOStatus FrozenFileSystem::NewSequentialFile(const std::string& name, const FileOptions&,
                                             std::unique_ptr<FSSequentialFile>* file, IODebugContext*) {
  const std::string in_folder = NameInFolder(name);
  const auto log = cut_.logs.find(in_folder);
  if (in_folder == kCurrent) {
    *file = std::make_unique<StringReader>(cut_.current);
  } else if (in_folder == kIdentity) {
    *file = std::make_unique<StringReader>(kAnyIdentity);
  } else if (in_folder == cut_.manifest_name) {
    *file = std::make_unique<CutReader>(cut_.manifest);
  } else if (log != cut_.logs.end()) {
    *file = std::make_unique<CutReader>(log->second);
  } else {
    return Missing(name);
  }
  return IOStatus::OK();
}

IOStatus FrozenFileSystem::NewRandomAccessFile(const std::string& name, const FileOptions&,
                                               std::unique_ptr<rocksdb::FSRandomAccessFile>* file, IODebugContext*) {
  const auto table = cut_.tables.find(NameInFolder(name));
  if (table == cut_.tables.end()) return Missing(name);
  *file = std::make_unique<SharedTable>(table->second.file);
  return IOStatus::OK();
}

IOStatus FrozenFileSystem::FileExists(const std::string& name, const IOOptions& options, IODebugContext* debug) {
  uint64_t size = 0;
  return GetFileSize(name, options, &size, debug);
}

IOStatus FrozenFileSystem::GetFileSize(const std::string& name, const IOOptions&, uint64_t* size, IODebugContext*) {
  const std::string in_folder = NameInFolder(name);
  const auto log = cut_.logs.find(in_folder);
  const auto table = cut_.tables.find(in_folder);
  if (in_folder == kCurrent) {
    *size = cut_.current.size();
  } else if (in_folder == kIdentity) {
    *size = sizeof(kAnyIdentity) - 1;
  } else if (in_folder == cut_.manifest_name) {
    *size = cut_.manifest->bytes();
  } else if (log != cut_.logs.end()) {
    *size = log->second->bytes();
  } else if (table != cut_.tables.end()) {
    *size = table->second.bytes;
  } else {
    return Missing(name);
  }
  return IOStatus::OK();
}

IOStatus FrozenFileSystem::GetChildren(const std::string& folder, const IOOptions&, std::vector<std::string>* children,
                                       IODebugContext*) {
  children->clear();
  if (std::filesystem::path(folder + "/").lexically_normal().string() != path_) return Missing(folder);
  *children = {kCurrent, cut_.manifest_name};
  for (const auto& [name, file] : cut_.logs) children->push_back(name);
  for (const auto& [name, file] : cut_.tables) children->push_back(name);
  return IOStatus::OK();
}

IOStatus FrozenFileSystem::NewWritableFile(const std::string& name, const FileOptions&,
                                           std::unique_ptr<FSWritableFile>*, IODebugContext*) {
  return ReadOnly(name);
}
IOStatus FrozenFileSystem::ReopenWritableFile(const std::string& name, const FileOptions&,
                                              std::unique_ptr<FSWritableFile>*, IODebugContext*) {
  return ReadOnly(name);
}
IOStatus FrozenFileSystem::ReuseWritableFile(const std::string& name, const std::string&, const FileOptions&,
                                             std::unique_ptr<FSWritableFile>*, IODebugContext*) {
  return ReadOnly(name);
}
IOStatus FrozenFileSystem::DeleteFile(const std::string& name, const IOOptions&, IODebugContext*) {
  return ReadOnly(name);
}
IOStatus FrozenFileSystem::Truncate(const std::string& name, size_t, const IOOptions&, IODebugContext*) {
  return ReadOnly(name);
}
IOStatus FrozenFileSystem::RenameFile(const std::string& from, const std::string&, const IOOptions&, IODebugContext*) {
  return ReadOnly(from);
}
IOStatus FrozenFileSystem::CreateDir(const std::string& name, const IOOptions&, IODebugContext*) {
  return ReadOnly(name);
}
IOStatus FrozenFileSystem::CreateDirIfMissing(const std::string& name, const IOOptions&, IODebugContext*) {
  return ReadOnly(name);
}
IOStatus FrozenFileSystem::DeleteDir(const std::string& name, const IOOptions&, IODebugContext*) {
  return ReadOnly(name);
}

}  // namespace ilre
