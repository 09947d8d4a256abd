// Files of the operating system: mapped for reading, read whole, written atomically.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace ilre {

// A file mapped read-only for as long as this object lives. Views into it must not outlive it, so whoever hands out
// views shares ownership of it. Thread-safe: constant after Open.
//
// A file that another process truncates while it is mapped ends this process (SIGBUS): map only files that are
// replaced, not rewritten, as model files are.
class MappedFile {
 public:
  // Errors: NOT_FOUND, PERMISSION_DENIED, INVALID_ARGUMENT for what is not a regular file.
  static absl::StatusOr<std::shared_ptr<const MappedFile>> Open(const std::string& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const std::string& path() const { return path_; }
  // The whole file. Empty for an empty file.
  absl::string_view bytes() const { return {data_, size_}; }

 private:
  MappedFile(std::string path, const char* data, size_t size) : path_(std::move(path)), data_(data), size_(size) {}

  std::string path_;
  const char* data_;
  size_t size_;
};

// The content of a regular file of at most `max_bytes`; a longer one is INVALID_ARGUMENT naming the limit.
absl::StatusOr<std::string> ReadFile(const std::string& path, uint64_t max_bytes);

// Creates a folder and those above it; that it is there already is no error.
absl::Status CreateFolders(const std::string& path);

// Replaces `path` by `content`: written to a temporary file beside it, synced, renamed. Readers see the old or the new
// content.
absl::Status WriteFileAtomically(const std::string& path, absl::string_view content);

}  // namespace ilre
