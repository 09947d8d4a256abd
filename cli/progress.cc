#include "cli/progress.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace ilre::cli {
namespace {

using Clock = std::chrono::steady_clock;
constexpr auto kBarInterval = std::chrono::milliseconds(100);
constexpr auto kLineInterval = std::chrono::seconds(5);
constexpr int kBarWidth = 30;

}  // namespace

std::string WithCommas(uint64_t number) {
  std::string digits = absl::StrCat(number);
  for (int i = static_cast<int>(digits.size()) - 3; i > 0; i -= 3) digits.insert(static_cast<size_t>(i), ",");
  return digits;
}

Progress::Progress(std::string title, uint64_t total_bytes, uint64_t bytes_before, std::string unit)
    : title_(std::move(title)),
      unit_(std::move(unit)),
      total_bytes_(total_bytes),
      bytes_before_(bytes_before),
      is_terminal_(::isatty(STDERR_FILENO) == 1),
      start_(Clock::now()),
      last_(start_) {}

Progress::~Progress() { Finish(); }

void Progress::Update(uint64_t bytes, uint64_t count) {
  if (!has_count_before_) {
    count_before_ = count;
    has_count_before_ = true;
  }
  const auto now = Clock::now();
  if (now - last_ < (is_terminal_ ? Clock::duration(kBarInterval) : Clock::duration(kLineInterval))) return;
  last_ = now;
  Draw(bytes, count, std::chrono::duration<double>(now - start_).count());
}

void Progress::Draw(uint64_t bytes, uint64_t count, double seconds) {
  std::string line = title_;
  if (total_bytes_ > 0) {
    const double share = std::min(1.0, static_cast<double>(bytes) / static_cast<double>(total_bytes_));
    if (is_terminal_) {
      const int filled = static_cast<int>(share * kBarWidth);
      absl::StrAppend(&line, " [", std::string(filled, '#'), std::string(kBarWidth - filled, '-'), "]");
    }
    absl::StrAppendFormat(&line, " %3.0f%%", share * 100);
  } else {
    absl::StrAppendFormat(&line, " %.1f MB", static_cast<double>(bytes) / 1e6);
  }
  absl::StrAppend(&line, "  ", WithCommas(count), " ", unit_);
  if (count > count_before_) {
    absl::StrAppendFormat(&line, "  %s %s/s",
                          WithCommas(static_cast<uint64_t>(static_cast<double>(count - count_before_) / seconds)),
                          unit_);
  }
  if (total_bytes_ > 0 && bytes > bytes_before_ && bytes < total_bytes_) {
    const double left =
        seconds * static_cast<double>(total_bytes_ - bytes) / static_cast<double>(bytes - bytes_before_);
    absl::StrAppendFormat(&line, "  %d:%02d left", static_cast<int>(left) / 60, static_cast<int>(left) % 60);
  }
  std::fprintf(stderr, is_terminal_ ? "\r%s\033[K" : "%s\n", line.c_str());
  std::fflush(stderr);
  drawn_ = is_terminal_;
}

void Progress::Finish() {
  if (drawn_) std::fprintf(stderr, "\r\033[K");
  drawn_ = false;
}

}  // namespace ilre::cli
