#include "common/rpc/trace_context.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/rpc/text.h"

namespace ilre {
namespace {

// 00-TTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTT-PPPPPPPPPPPPPPPP-FF
constexpr size_t kTraceBegin = 3, kTraceSize = 32;
constexpr size_t kParentBegin = 36, kParentSize = 16;
constexpr size_t kFlagsBegin = 53, kFlagsSize = 2;
constexpr size_t kSize = 55;

bool IsHex(absl::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

bool IsZero(absl::string_view text) { return text.find_first_not_of('0') == absl::string_view::npos; }

}  // namespace

bool IsTraceparent(absl::string_view header) {
  if (header.size() < kSize || header.size() > 256) return false;
  const absl::string_view version = header.substr(0, 2), trace = header.substr(kTraceBegin, kTraceSize),
                          parent = header.substr(kParentBegin, kParentSize);
  if (!IsHex(version) || version == "ff" || header[2] != '-' || header[kParentBegin - 1] != '-' ||
      header[kFlagsBegin - 1] != '-') {
    return false;
  }
  if (!IsHex(trace) || IsZero(trace) || !IsHex(parent) || IsZero(parent)) return false;
  if (!IsHex(header.substr(kFlagsBegin, kFlagsSize))) return false;
  if (version == "00") return header.size() == kSize;
  if (header.size() > kSize && header[kSize] != '-') return false;
  return std::all_of(header.begin(), header.end(), [](char c) { return c > 0x20 && c < 0x7f; });
}

bool IsTracestate(absl::string_view header) {
  return header.size() <= 512 &&
         std::all_of(header.begin(), header.end(), [](char c) { return c >= 0x20 && c < 0x7f; });
}

absl::string_view TraceIdOf(absl::string_view traceparent) {
  return traceparent.size() < kSize ? absl::string_view() : traceparent.substr(kTraceBegin, kTraceSize);
}

std::string ChildTraceparent(absl::string_view traceparent) {
  return absl::StrCat("00-", TraceIdOf(traceparent), "-", RandomHex(kParentSize / 2), "-",
                      traceparent.substr(kFlagsBegin, kFlagsSize));
}

}  // namespace ilre
