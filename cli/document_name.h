// Names of documents on the command line: `d` in a default collection, or `c/d`.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace ilre::cli {

inline constexpr char kDefaultCollection[] = "default";

struct DocumentName {
  std::string collection, document;
  std::string ToString() const { return collection + "/" + document; }
};

// What stands for all documents of a collection, in place of one's name.
inline constexpr char kAllDocuments[] = "-";

// `collection` (may be empty) is what --collection says; a name with a slash overrides it. INVALID_ARGUMENT naming the
// part that is no name. With `allow_all`, the document may be kAllDocuments.
absl::StatusOr<DocumentName> ParseDocumentName(absl::string_view text, absl::string_view collection,
                                               bool allow_all = false);

}  // namespace ilre::cli
