#include "cli/document_name.h"

#include "absl/strings/str_cat.h"
#include "common/base/errors.h"
#include "common/store/records.h"

namespace ilre::cli {

absl::StatusOr<DocumentName> ParseDocumentName(absl::string_view text, absl::string_view collection, bool allow_all) {
  DocumentName name;
  const size_t slash = text.find('/');
  if (slash == absl::string_view::npos) {
    name.collection = collection.empty() ? kDefaultCollection : std::string(collection);
    name.document = std::string(text);
  } else {
    name.collection = std::string(text.substr(0, slash));
    name.document = std::string(text.substr(slash + 1));
  }
  for (const std::string* named : {&name.collection, &name.document}) {
    const std::string& part = *named;
    if (!IsValidName(part) && !(allow_all && named == &name.document && part == kAllDocuments)) {
      return errors::InvalidArgument(absl::StrCat("'", part,
                                                  "' is not a name: lower-case letters, digits and hyphens, 1 to 63, "
                                                  "beginning and ending with a letter or digit"));
    }
  }
  return name;
}

}  // namespace ilre::cli
