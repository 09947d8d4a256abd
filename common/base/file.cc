#include "common/base/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "common/base/errors.h"
#include "common/base/status_macros.h"

namespace ilre {
namespace {

// Closes a file descriptor at the end of a scope.
class ScopedFd {
 public:
  explicit ScopedFd(int fd) : fd_(fd) {}
  ~ScopedFd() {
    if (fd_ >= 0) ::close(fd_);
  }
  ScopedFd(const ScopedFd&) = delete;
  ScopedFd& operator=(const ScopedFd&) = delete;
  int get() const { return fd_; }
  int Release() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

// Opens a regular file for reading and gives its size. O_NONBLOCK: opening a pipe by mistake must not hang.
absl::StatusOr<int> OpenRegular(const std::string& path, uint64_t* size) {
  ScopedFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (fd.get() < 0) return ErrnoError(errno, absl::StrCat("cannot open ", path));
  struct stat info;
  if (::fstat(fd.get(), &info) != 0) return ErrnoError(errno, absl::StrCat("cannot stat ", path));
  if (!S_ISREG(info.st_mode)) {
    return MakeError(absl::StatusCode::kInvalidArgument, "NOT_A_FILE", absl::StrCat(path, " is not a regular file"));
  }
  *size = static_cast<uint64_t>(info.st_size);
  return fd.Release();
}

}  // namespace

absl::StatusOr<std::shared_ptr<const MappedFile>> MappedFile::Open(const std::string& path) {
  uint64_t size = 0;
  ILRE_ASSIGN_OR_RETURN(int raw_fd, OpenRegular(path, &size));
  ScopedFd fd(raw_fd);
  const char* data = nullptr;
  if (size > 0) {
    void* mapped = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd.get(), 0);
    if (mapped == MAP_FAILED) return ErrnoError(errno, absl::StrCat("cannot map ", path));
    data = static_cast<const char*>(mapped);
  }
  return std::shared_ptr<const MappedFile>(new MappedFile(path, data, size));
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<char*>(data_), size_);
}

absl::StatusOr<std::string> ReadFile(const std::string& path, uint64_t max_bytes) {
  uint64_t size = 0;
  ILRE_ASSIGN_OR_RETURN(int raw_fd, OpenRegular(path, &size));
  ScopedFd fd(raw_fd);
  if (size > max_bytes) {
    return MakeError(absl::StatusCode::kInvalidArgument, "FILE_TOO_LARGE",
                     absl::StrCat(path, " has ", size, " bytes; at most ", max_bytes, " are allowed"));
  }
  std::string content(size, '\0');
  size_t done = 0;
  while (done < content.size()) {
    const ssize_t n = ::read(fd.get(), content.data() + done, content.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrnoError(errno, absl::StrCat("cannot read ", path));
    if (n == 0) break;  // became shorter meanwhile
    done += static_cast<size_t>(n);
  }
  content.resize(done);
  return content;
}

absl::Status CreateFolders(const std::string& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  return error ? ErrnoError(error.value(), absl::StrCat("cannot create the folder ", path)) : absl::OkStatus();
}

absl::Status WriteFileAtomically(const std::string& path, absl::string_view content) {
  const std::string temporary = absl::StrCat(path, ".tmp", ::getpid());
  {
    ScopedFd fd(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
    if (fd.get() < 0) return ErrnoError(errno, absl::StrCat("cannot create ", temporary));
    size_t done = 0;
    while (done < content.size()) {
      const ssize_t n = ::write(fd.get(), content.data() + done, content.size() - done);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) {
        absl::Status error = ErrnoError(errno, absl::StrCat("cannot write ", temporary));
        ::unlink(temporary.c_str());
        return error;
      }
      done += static_cast<size_t>(n);
    }
    if (::fsync(fd.get()) != 0) {
      absl::Status error = ErrnoError(errno, absl::StrCat("cannot sync ", temporary));
      ::unlink(temporary.c_str());
      return error;
    }
  }
  if (::rename(temporary.c_str(), path.c_str()) != 0) {
    absl::Status error = ErrnoError(errno, absl::StrCat("cannot replace ", path));
    ::unlink(temporary.c_str());
    return error;
  }
  std::string folder = std::filesystem::path(path).parent_path().string();
  if (folder.empty()) folder = ".";
  ScopedFd directory(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (directory.get() >= 0) ::fsync(directory.get());
  return absl::OkStatus();
}

}  // namespace ilre
