#include "common/api/resource_name.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "common/base/errors.h"
#include "common/base/status_macros.h"

namespace ilre {
namespace {

std::string StoredCollection(absl::string_view tenant, absl::string_view collection) {
  return tenant.empty() ? std::string(collection) : absl::StrCat(tenant, ".", collection);
}

// What of a name is shown in an error: not megabytes of it.
std::string Shown(absl::string_view name) {
  return name.size() <= 160 ? std::string(name) : absl::StrCat(name.substr(0, 160), "...");
}

}  // namespace

absl::StatusOr<StoredName> ParseDocumentName(absl::string_view name, absl::string_view tenant, absl::string_view field,
                                             bool allow_all) {
  absl::string_view rest = name;
  if (absl::ConsumePrefix(&rest, "collections/")) {
    const size_t slash = rest.find('/');
    const absl::string_view collection = rest.substr(0, slash);
    rest.remove_prefix(slash == absl::string_view::npos ? rest.size() : slash);
    if (IsValidName(collection) && absl::ConsumePrefix(&rest, "/documents/") &&
        (IsValidName(rest) || (allow_all && rest == kAllDocuments))) {
      return StoredName{StoredCollection(tenant, collection), std::string(rest)};
    }
  }
  return errors::InvalidField(
      field, absl::StrCat("'", Shown(name), "' is not collections/{collection}/documents/{document}, each of 1 to 63 ",
                          "lower-case letters, digits and inner hyphens"));
}

absl::StatusOr<std::string> ParseCollectionName(absl::string_view name, absl::string_view tenant,
                                                absl::string_view field, bool allow_all) {
  absl::string_view rest = name;
  if (absl::ConsumePrefix(&rest, "collections/")) {
    if (allow_all && rest == "-") return std::string();
    if (IsValidName(rest)) return StoredCollection(tenant, rest);
  }
  return errors::InvalidField(field, absl::StrCat("'", Shown(name), "' is not collections/{collection}, of 1 to 63 ",
                                                  "lower-case letters, digits and inner hyphens"));
}

std::string DocumentResourceName(absl::string_view stored_collection, absl::string_view document) {
  const size_t dot = stored_collection.find('.');
  const absl::string_view collection =
      dot == absl::string_view::npos ? stored_collection : stored_collection.substr(dot + 1);
  return absl::StrCat("collections/", collection, "/documents/", document);
}

bool IsOfTenant(absl::string_view stored_collection, absl::string_view tenant) {
  return TenantOf(stored_collection) == tenant;
}

absl::Status HideTenant(const absl::Status& status, absl::string_view tenant) {
  if (status.ok() || tenant.empty()) return status;
  absl::Status hidden(status.code(), absl::StrReplaceAll(status.message(), {{absl::StrCat(tenant, "."), ""}}));
  status.ForEachPayload([&](absl::string_view url, const absl::Cord& payload) { hidden.SetPayload(url, payload); });
  return hidden;
}

}  // namespace ilre
