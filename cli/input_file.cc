#include "cli/input_file.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>

#include "absl/strings/str_cat.h"
#include "cli/interrupt.h"
#include "cli/progress.h"
#include "common/base/errors.h"
#include "common/base/status_macros.h"
#include "encoder_service/text_checker.h"

namespace ilre::cli {
namespace {

constexpr size_t kReadBytes = 1 << 20;

}  // namespace

Input::Input(const std::string& file) : name_(file == "-" ? "standard input" : file), buffer_(kReadBytes, '\0') {}

Input::~Input() {
  if (fd_ > STDIN_FILENO) ::close(fd_);
}

absl::StatusOr<std::unique_ptr<Input>> Input::Open(const std::string& file) {
  auto input = std::unique_ptr<Input>(new Input(file));
  if (file == "-") return input;
  input->fd_ = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
  if (input->fd_ < 0) return ErrnoError(errno, absl::StrCat("cannot open ", file));
  struct stat info;
  if (::fstat(input->fd_, &info) != 0) return ErrnoError(errno, absl::StrCat("cannot stat ", file));
  if (S_ISDIR(info.st_mode)) return MakeError(absl::StatusCode::kInvalidArgument, "NOT_A_FILE", file + " is a folder");
  input->is_regular_ = S_ISREG(info.st_mode);
  if (input->is_regular_) input->size_ = static_cast<uint64_t>(info.st_size);
  return input;
}

absl::StatusOr<absl::string_view> Input::Read() {
  for (;;) {
    const ssize_t n = ::read(fd_, buffer_.data(), buffer_.size());
    if (n >= 0) return absl::string_view(buffer_.data(), static_cast<size_t>(n));
    if (errno != EINTR) return ErrnoError(errno, absl::StrCat("cannot read ", name_));
    if (Interrupted()) return errors::Cancelled("reading");
  }
}

absl::Status Input::Rewind() {
  if (::lseek(fd_, 0, SEEK_SET) == 0) return absl::OkStatus();
  return ErrnoError(errno, absl::StrCat("cannot rewind ", name_));
}

absl::Status GoesBeyond(const Input& input, uint64_t max_bytes) {
  return MakeError(absl::StatusCode::kInvalidArgument, "DOCUMENT_TOO_LARGE",
                   absl::StrCat(input.name(), " goes beyond ", WithCommas(max_bytes),
                                " bytes, which a document may have (--max-bytes)"));
}

absl::Status CheckWholeFile(Input& input, uint64_t max_bytes) {
  if (input.size() == 0) {
    return MakeError(absl::StatusCode::kInvalidArgument, "EMPTY_DOCUMENT", absl::StrCat(input.name(), " is empty"));
  }
  if (input.size() > max_bytes) {
    return MakeError(absl::StatusCode::kInvalidArgument, "DOCUMENT_TOO_LARGE",
                     absl::StrCat(input.name(), " has ", WithCommas(input.size()), " bytes; a document may have ",
                                  WithCommas(max_bytes), " (--max-bytes)"));
  }
  TextChecker checker;
  for (;;) {
    ILRE_ASSIGN_OR_RETURN(const absl::string_view bytes, input.Read());
    if (bytes.empty()) break;
    ILRE_RETURN_IF_ERROR(Annotate(checker.Take(bytes), input.name()));
  }
  ILRE_RETURN_IF_ERROR(Annotate(checker.CheckEnd(), input.name()));
  return input.Rewind();
}

}  // namespace ilre::cli
