// Results on disk, a line for each, written when it is known: a killed command goes on where it was.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace ilre::cli {

class LineLog {
 public:
  // Opens or creates `path`. `settings` is one line that says what results depend on; a log that was begun with others
  // is FAILED_PRECONDITION with `reason`, naming both. A last line that was cut off by a crash is dropped.
  static absl::StatusOr<std::unique_ptr<LineLog>> Open(const std::string& path, const std::string& settings,
                                                       const std::string& reason);
  ~LineLog();
  LineLog(const LineLog&) = delete;
  LineLog& operator=(const LineLog&) = delete;

  // Those that stood there when it was opened, without the settings: the first is line 2 of the file.
  const std::vector<std::string>& lines() const { return lines_; }
  // What to return where lines()[index] cannot be read: DATA_LOSS with `reason`, naming the line.
  absl::Status Damaged(size_t index, const std::string& reason) const;
  // The line is in the system's hands when this returns: it outlives this process.
  absl::Status Append(const std::string& line);

 private:
  LineLog(std::string path, int fd) : path_(std::move(path)), fd_(fd) {}

  std::string path_;
  int fd_;
  std::vector<std::string> lines_;
};

}  // namespace ilre::cli
