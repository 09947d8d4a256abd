// ilre documents list|show|delete, and ilre inspect.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "cli/settings.h"

namespace ilre::cli {

struct DocumentsArguments {
  std::string name, collection;
  bool json = false;
};

absl::Status RunDocumentsList(const Settings& settings, const DocumentsArguments& arguments);
absl::Status RunDocumentsShow(const Settings& settings, const DocumentsArguments& arguments);
absl::Status RunDocumentsDelete(const Settings& settings, const DocumentsArguments& arguments);

struct InspectArguments {
  std::string name, collection;  // of one document; without a name: the whole store
  bool verify = false;           // reads every record
  bool segments = false;         // prints each segment as a line of JSON
  bool checksums = false;        // prints each block's number and ContentChecksum
  bool json = false;
};
absl::Status RunInspect(const Settings& settings, const InspectArguments& arguments);

}  // namespace ilre::cli
