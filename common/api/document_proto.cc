#include "common/api/document_proto.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/api/resource_name.h"
#include "common/base/errors.h"

namespace ilre {
namespace {

v1::Document::State StateToProto(DocumentState state) {
  switch (state) {
    case DocumentState::kIngesting:
      return v1::Document::INGESTING;
    case DocumentState::kReady:
      return v1::Document::READY;
    case DocumentState::kFailed:
    case DocumentState::kDeleting:
      return v1::Document::FAILED;
  }
  return v1::Document::STATE_UNSPECIFIED;
}

}  // namespace

std::string EtagOf(const DocumentRow& row) { return absl::StrFormat("%x-%x", row.uid, row.revision); }

google::protobuf::Timestamp ToTimestamp(int64_t ms_since_epoch) {
  google::protobuf::Timestamp time;
  int64_t seconds = ms_since_epoch / 1000, ms = ms_since_epoch % 1000;
  if (ms < 0) {
    ms += 1000;
    --seconds;
  }
  time.set_seconds(seconds);
  time.set_nanos(static_cast<int32_t>(ms * 1'000'000));
  return time;
}

void ToProto(const DocumentRow& row, v1::Document* document) {
  document->Clear();
  document->set_name(DocumentResourceName(row.collection, row.document));
  document->set_state(StateToProto(row.state));
  document->set_committed_bytes(static_cast<int64_t>(row.committed_bytes));
  document->set_token_count(static_cast<int64_t>(row.num_tokens));
  *document->mutable_create_time() = ToTimestamp(row.create_time_ms);
  *document->mutable_update_time() = ToTimestamp(row.update_time_ms);
  if (row.expire_time_ms > 0) *document->mutable_expire_time() = ToTimestamp(row.expire_time_ms);
  document->set_etag(EtagOf(row));
  document->set_failure(row.failure);
  document->set_model_fingerprint(row.model);
  document->set_tokenizer_fingerprint(row.tokenizer);
  document->set_profile_fingerprint(row.profile);
}

absl::StatusOr<int64_t> ParseFutureTime(const google::protobuf::Timestamp& time, absl::Time now,
                                        absl::string_view field) {
  constexpr int64_t kFirstSecond = -62135596800, kLastSecond = 253402300799;  // years 1 to 9999
  if (time.seconds() < kFirstSecond || time.seconds() > kLastSecond || time.nanos() < 0 || time.nanos() > 999'999'999) {
    return errors::InvalidField(field, "is not a time");
  }
  const int64_t ms = time.seconds() * 1000 + time.nanos() / 1'000'000;
  if (absl::FromUnixMillis(ms) <= now) return errors::InvalidField(field, "does not lie in the future");
  return ms;
}

}  // namespace ilre
