#include "cli/line_log.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/errors.h"
#include "common/base/file.h"
#include "common/base/status_macros.h"

namespace ilre::cli {
namespace {

constexpr uint64_t kMaxLogBytes = uint64_t{1} << 30;

}  // namespace

absl::StatusOr<std::unique_ptr<LineLog>> LineLog::Open(const std::string& path, const std::string& settings,
                                                       const std::string& reason) {
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (fd < 0) return ErrnoError(errno, absl::StrCat("cannot open ", path));
  std::unique_ptr<LineLog> log(new LineLog(path, fd));
  ILRE_ASSIGN_OR_RETURN(std::string content, ReadFile(path, kMaxLogBytes));
  const size_t whole = content.rfind('\n') == std::string::npos ? 0 : content.rfind('\n') + 1;
  if (whole < content.size() && ::ftruncate(fd, static_cast<off_t>(whole)) != 0) {
    return ErrnoError(errno, absl::StrCat("cannot shorten ", path));
  }
  content.resize(whole);
  if (content.empty()) {
    ILRE_RETURN_IF_ERROR(log->Append(settings));
    return log;
  }
  for (size_t begin = 0; begin < content.size();) {
    const size_t end = content.find('\n', begin);
    std::string line = content.substr(begin, end - begin);
    if (begin > 0) {
      log->lines_.push_back(std::move(line));
    } else if (line != settings) {
      return MakeError(absl::StatusCode::kFailedPrecondition, reason,
                       absl::StrCat(path, " was begun with ", line, "; now it is ", settings));
    }
    begin = end + 1;
  }
  return log;
}

LineLog::~LineLog() { ::close(fd_); }

absl::Status LineLog::Damaged(size_t index, const std::string& reason) const {
  return MakeError(absl::StatusCode::kDataLoss, reason, absl::StrCat(path_, ":", index + 2, " is no result"));
}

absl::Status LineLog::Append(const std::string& line) {
  const std::string bytes = absl::StrCat(line, "\n");
  for (size_t written = 0; written < bytes.size();) {
    const ssize_t n = ::write(fd_, bytes.data() + written, bytes.size() - written);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrnoError(errno, absl::StrCat("cannot write ", path_));
    written += static_cast<size_t>(n);
  }
  return absl::OkStatus();
}

}  // namespace ilre::cli
