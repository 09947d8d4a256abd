// The bytes to ingest: a file, or standard input.
#pragma once

#include <unistd.h>

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace ilre::cli {

class Input {
 public:
  // `file` is a path, or "-" for standard input.
  static absl::StatusOr<std::unique_ptr<Input>> Open(const std::string& file);
  ~Input();
  Input(const Input&) = delete;
  Input& operator=(const Input&) = delete;

  bool is_regular() const { return is_regular_; }
  uint64_t size() const { return size_; }  // 0 if unknown
  const std::string& name() const { return name_; }

  // The next bytes, none at the end; valid until the next call. CANCELLED when interrupted.
  absl::StatusOr<absl::string_view> Read();
  absl::Status Rewind();

 private:
  explicit Input(const std::string& file);

  std::string name_, buffer_;
  int fd_ = STDIN_FILENO;
  bool is_regular_ = false;
  uint64_t size_ = 0;
};

// Reads a regular file once to see that all of it can be ingested: nothing is begun for a file that cannot be finished.
absl::Status CheckWholeFile(Input& input, uint64_t max_bytes);

// For bytes beyond what a document may have.
absl::Status GoesBeyond(const Input& input, uint64_t max_bytes);

}  // namespace ilre::cli
