// Names from untrusted files in messages.
#pragma once

#include <string>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace ilre {

// 'name', escaped to printable ASCII and cut to what a message can bear.
inline std::string Quoted(absl::string_view name) {
  constexpr size_t kMaxShown = 80;
  return absl::StrCat("'", absl::CHexEscape(name.substr(0, kMaxShown)), name.size() > kMaxShown ? "..." : "", "'");
}

}  // namespace ilre
