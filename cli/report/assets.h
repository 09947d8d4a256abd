// Files of the web pages, embedded at build time by cmake/EmbedFiles.cmake: the report of `ilre ask --report` and the
// page of `ilre serve` share their looks and their heat map.
#pragma once

#include <string>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace ilre::cli {

struct Asset {
  absl::string_view name;     // "common.js"
  absl::string_view content;  // the file's bytes
  absl::string_view sha256;   // of the content, 64 hexadecimal digits
};

// All of them; constant for the life of the program.
absl::Span<const Asset> WebAssets();

// The one called `name`, which must exist.
const Asset& WebAsset(absl::string_view name);

// A source expression of a Content-Security-Policy that allows just this content: 'sha256-BASE64'.
std::string PolicySource(const Asset& asset);

}  // namespace ilre::cli
