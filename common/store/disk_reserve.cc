#include "common/store/disk_reserve.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "absl/strings/str_cat.h"
#include "common/base/errors.h"

namespace ilre {

DiskReserve::DiskReserve(const std::string& path, uint64_t bytes) : file_(path + "/RESERVE"), bytes_(bytes) {}

absl::Status DiskReserve::Take() {
  if (taken_ || bytes_ == 0) return absl::OkStatus();
  const std::string what = absl::StrCat("cannot reserve ", bytes_, " bytes in ", file_);
  const int file = ::open(file_.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
  if (file < 0) return ErrnoError(errno, what);
  // It may be there already, with another size. posix_fallocate returns its error.
  int error = ::ftruncate(file, static_cast<off_t>(bytes_)) == 0 ? 0 : errno;
  if (error == 0) error = ::posix_fallocate(file, 0, static_cast<off_t>(bytes_));
  ::close(file);
  if (error != 0) {
    ::unlink(file_.c_str());
    return ErrnoError(error, what);
  }
  taken_ = true;
  return absl::OkStatus();
}

bool DiskReserve::Release() {
  if (bytes_ == 0) return false;
  taken_ = false;
  return ::unlink(file_.c_str()) == 0;
}

}  // namespace ilre
