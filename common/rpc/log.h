// Structured logs: one line an event, as JSON or as text, never a token or a document's text.
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace ilre {

enum class LogLevel { kDebug, kInfo, kWarning, kError };
enum class LogFormat { kText, kJson };

// "debug", "info", "warning", "error"; "text", "json". Others are INVALID_ARGUMENT.
absl::StatusOr<LogLevel> ParseLogLevel(absl::string_view name);
absl::StatusOr<LogFormat> ParseLogFormat(absl::string_view name);

// A named value of a line. Empty texts are left out of the line.
class LogField {
 public:
  LogField(absl::string_view key, absl::string_view text) : key_(key), text_(text), is_number_(false) {}
  LogField(absl::string_view key, const char* text) : LogField(key, absl::string_view(text)) {}
  LogField(absl::string_view key, const std::string& text) : LogField(key, absl::string_view(text)) {}
  LogField(absl::string_view key, double number);
  LogField(absl::string_view key, int64_t number);
  LogField(absl::string_view key, int number) : LogField(key, int64_t{number}) {}

  absl::string_view key() const { return key_; }
  absl::string_view text() const { return is_number_ ? absl::string_view(number_) : text_; }
  bool is_number() const { return is_number_; }

 private:
  absl::string_view key_, text_;
  std::string number_;
  bool is_number_;
};

// Thread-safe. A line is written whole.
class Logger {
 public:
  // Gets a line that ends with '\n'. Calls do not overlap.
  using Sink = std::function<void(absl::string_view line)>;

  // Without a sink, lines go to standard error.
  explicit Logger(LogLevel level = LogLevel::kInfo, LogFormat format = LogFormat::kText, Sink sink = nullptr);
  ~Logger();
  Logger(const Logger&) = delete;
  Logger& operator=(const Logger&) = delete;

  bool Enabled(LogLevel level) const { return level >= level_; }

  // Text: `2025-01-31T12:00:00.123Z INFO message key=value key="other value"`; JSON:
  // {"time","level","message",key:...}.
  void Log(LogLevel level, absl::string_view message, std::initializer_list<LogField> fields = {});

 private:
  class Output;

  const LogLevel level_;
  const LogFormat format_;
  const std::unique_ptr<Output> output_;
};

}  // namespace ilre
