#include "common/store/engine_log.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdarg>
#include <cstdio>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace ilre {
namespace {

constexpr size_t kMaxLineBytes = 4 << 10;

class EngineLog final : public rocksdb::Logger {
 public:
  EngineLog(const std::string& path, uint64_t max_bytes)
      : Logger(rocksdb::InfoLogLevel::WARN_LEVEL), left_bytes_(max_bytes) {
    const std::string file = path + "/LOG";
    (void)std::rename(file.c_str(), (file + ".old").c_str());
    fd_ = ::open(file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0644);
  }
  ~EngineLog() override {
    if (fd_ >= 0) ::close(fd_);
  }

  using Logger::Logv;
  void Logv(const char* format, va_list arguments) override {
    char message[kMaxLineBytes];
    if (std::vsnprintf(message, sizeof(message), format, arguments) < 0) return;
    const std::string line =
        absl::StrCat(absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ ", absl::Now(), absl::UTCTimeZone()), message, "\n");
    absl::MutexLock lock(&mutex_);
    if (fd_ < 0 || line.size() > left_bytes_) return;
    if (::write(fd_, line.data(), line.size()) > 0) left_bytes_ -= line.size();
  }
  void LogHeader(const char*, va_list) override {}  // every option at every start; not a warning

 private:
  absl::Mutex mutex_;
  int fd_ = -1;
  uint64_t left_bytes_ ABSL_GUARDED_BY(mutex_);
};

class SilentLog final : public rocksdb::Logger {
 public:
  using Logger::Logv;
  void Logv(const char*, va_list) override {}
};

}  // namespace

std::shared_ptr<rocksdb::Logger> OpenEngineLog(const std::string& path, uint64_t max_bytes) {
  return std::make_shared<EngineLog>(path, max_bytes);
}

std::shared_ptr<rocksdb::Logger> NoEngineLog() { return std::make_shared<SilentLog>(); }

}  // namespace ilre
