// What the commands do with --server.
#pragma once

#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "cli/document_name.h"
#include "cli/ingest_command.h"
#include "cli/input_file.h"
#include "cli/settings.h"
#include "common/store/records.h"

namespace ilre::cli {

absl::Status RunRemoteIngest(const Settings& settings, const IngestArguments& arguments, const DocumentName& name,
                             Input& input);

// Rows hold what the API says of a document; their uid is 0.
absl::StatusOr<DocumentRow> GetRemoteDocument(const Settings& settings, const DocumentName& name);
// Of `collection`, or of all if it is empty.
absl::Status ForEachRemoteDocument(const Settings& settings, const std::string& collection,
                                   const std::function<absl::Status(const DocumentRow&)>& visit);
absl::Status DeleteRemoteDocument(const Settings& settings, const DocumentName& name);

}  // namespace ilre::cli
