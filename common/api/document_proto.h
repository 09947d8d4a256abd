// Stored rows and scores as messages of the API.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "common/store/records.h"
#include "google/protobuf/timestamp.pb.h"
#include "ilre/v1/resources.pb.h"

namespace ilre {

void ToProto(const DocumentRow& row, v1::Document* document);

// The etag of a row; another one after each change of it.
std::string EtagOf(const DocumentRow& row);

google::protobuf::Timestamp ToTimestamp(int64_t ms_since_epoch);

// INVALID_ARGUMENT naming `field` for what is no valid time (years 1 to 9999), or not after `now`.
absl::StatusOr<int64_t> ParseFutureTime(const google::protobuf::Timestamp& time, absl::Time now,
                                        absl::string_view field);

}  // namespace ilre
