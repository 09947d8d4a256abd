#include "common/rpc/log.h"

#include <unistd.h>

#include <mutex>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "common/base/errors.h"
#include "common/rpc/text.h"

namespace ilre {
namespace {

constexpr size_t kMaxTextBytes = 1000;

constexpr absl::string_view kLevelNames[] = {"debug", "info", "warning", "error"};

absl::string_view NameOf(LogLevel level) { return kLevelNames[static_cast<int>(level)]; }

std::string Quoted(absl::string_view text) {
  std::string quoted = "\"";
  for (char c : CleanLine(text, kMaxTextBytes)) {
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += c;
  }
  return quoted + '"';
}

bool NeedsQuotes(absl::string_view text) {
  for (char c : text) {
    const unsigned char byte = static_cast<unsigned char>(c);
    if (byte <= ' ' || byte >= 0x7f || c == '"' || c == '\\' || c == '=') return true;
  }
  return false;
}

void WriteToStandardError(absl::string_view line) {
  while (!line.empty()) {
    const ssize_t written = write(STDERR_FILENO, line.data(), line.size());
    if (written <= 0) return;  // nobody listens: a log must not stop the server
    line.remove_prefix(static_cast<size_t>(written));
  }
}

std::string TextLine(absl::string_view time, LogLevel level, absl::string_view message,
                     std::initializer_list<LogField> fields) {
  std::string line = absl::StrCat(time, " ", NameOf(level), " ", CleanLine(message, kMaxTextBytes));
  for (const LogField& field : fields) {
    if (field.text().empty()) continue;
    const bool quotes = !field.is_number() && NeedsQuotes(field.text());
    absl::StrAppend(&line, " ", field.key(), "=", quotes ? Quoted(field.text()) : std::string(field.text()));
  }
  return line;
}

std::string JsonLine(absl::string_view time, LogLevel level, absl::string_view message,
                     std::initializer_list<LogField> fields) {
  std::string line =
      absl::StrCat("{\"time\":\"", time, "\",\"level\":\"", NameOf(level), "\",\"message\":", Quoted(message));
  for (const LogField& field : fields) {
    if (field.text().empty()) continue;
    absl::StrAppend(&line, ",\"", field.key(),
                    "\":", field.is_number() ? std::string(field.text()) : Quoted(field.text()));
  }
  return line + "}";
}

}  // namespace

class Logger::Output {
 public:
  explicit Output(Sink sink) : sink_(sink ? std::move(sink) : WriteToStandardError) {}
  void Write(absl::string_view line) {
    std::lock_guard lock(mutex_);
    sink_(line);
  }

 private:
  std::mutex mutex_;
  const Sink sink_;
};

absl::StatusOr<LogLevel> ParseLogLevel(absl::string_view name) {
  for (int i = 0; i < 4; ++i) {
    if (name == kLevelNames[i]) return static_cast<LogLevel>(i);
  }
  return errors::InvalidField("log-level", absl::StrCat("'", name, "' is none of debug, info, warning, error"));
}

absl::StatusOr<LogFormat> ParseLogFormat(absl::string_view name) {
  if (name == "text") return LogFormat::kText;
  if (name == "json") return LogFormat::kJson;
  return errors::InvalidField("log-format", absl::StrCat("'", name, "' is neither text nor json"));
}

LogField::LogField(absl::string_view key, double number)
    : key_(key),
      number_(number == number && number - number == 0 ? absl::StrFormat("%.3f", number) : "0"),
      is_number_(true) {}

LogField::LogField(absl::string_view key, int64_t number)
    : key_(key), number_(absl::StrCat(number)), is_number_(true) {}

Logger::Logger(LogLevel level, LogFormat format, Sink sink)
    : level_(level), format_(format), output_(std::make_unique<Output>(std::move(sink))) {}

Logger::~Logger() = default;

void Logger::Log(LogLevel level, absl::string_view message, std::initializer_list<LogField> fields) {
  if (!Enabled(level)) return;
  const std::string time = absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", absl::Now(), absl::UTCTimeZone());
  const std::string line =
      format_ == LogFormat::kJson ? JsonLine(time, level, message, fields) : TextLine(time, level, message, fields);
  output_->Write(absl::StrCat(line, "\n"));
}

}  // namespace ilre
