// Resource names of the API and the names that the store keeps documents under.
//
// A tenant's collection `c` is stored as `tenant.c`: names from outside cannot hold a dot, so that no request can speak
// of another tenant's documents.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/store/records.h"

namespace ilre {

// As the store knows it.
struct StoredName {
  std::string collection;  // with the tenant
  std::string document;
};

// The document part that stands for all documents of a collection.
inline constexpr char kAllDocuments[] = "-";

// Of `collections/{c}/documents/{d}`. `field` is named in errors: INVALID_ARGUMENT. With `allow_all`, {d} may be "-".
absl::StatusOr<StoredName> ParseDocumentName(absl::string_view name, absl::string_view tenant, absl::string_view field,
                                             bool allow_all = false);

// Of `collections/{c}`: the stored collection. With `allow_all`, {c} may be "-": then the result is empty.
absl::StatusOr<std::string> ParseCollectionName(absl::string_view name, absl::string_view tenant,
                                                absl::string_view field, bool allow_all = false);

// `collections/{c}/documents/{d}` of a stored row, whoever's it is.
std::string DocumentResourceName(absl::string_view stored_collection, absl::string_view document);

// Whether a stored collection is the tenant's.
bool IsOfTenant(absl::string_view stored_collection, absl::string_view tenant);

// `status`, which may speak of a document by its stored name, as its tenant may see it: without the tenant.
absl::Status HideTenant(const absl::Status& status, absl::string_view tenant);

}  // namespace ilre
