#include "cli/report/assets.h"

#include <algorithm>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "common/base/check.h"

namespace ilre::cli {

const Asset& WebAsset(absl::string_view name) {
  const absl::Span<const Asset> assets = WebAssets();
  const auto found = std::find_if(assets.begin(), assets.end(), [&](const Asset& asset) { return asset.name == name; });
  ILRE_CHECK(found != assets.end());
  return *found;
}

std::string PolicySource(const Asset& asset) {
  return absl::StrCat("'sha256-", absl::Base64Escape(absl::HexStringToBytes(asset.sha256)), "'");
}

}  // namespace ilre::cli
