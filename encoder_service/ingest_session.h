// One IngestDocument call: compares bytes that are stored already, encodes the others, acknowledges what is durable.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "common/api/resource_name.h"
#include "common/base/call_context.h"
#include "common/retrieval/retrieval_model.h"
#include "common/store/key_store.h"
#include "encoder_service/document_ingest.h"
#include "encoder_service/ingest_registry.h"
#include "encoder_service/stored_text.h"
#include "ilre/v1/encoder.pb.h"

namespace ilre {

struct EncoderLimits {
  uint64_t max_document_bytes = uint64_t{1} << 34;
  int commit_blocks = 64;  // blocks computed between two commits
  static constexpr size_t kMaxChunkBytes = 1 << 20;
  absl::Status Validate() const;
};

// What a session works on; must outlive it.
struct IngestDependencies {
  KeyStore* store = nullptr;
  const RetrievalModel* model = nullptr;
  IngestRegistry* registry = nullptr;
  EncoderLimits limits;
};

// Not thread-safe: one message at a time. After an error only Abandon may be called.
class IngestSession {
 public:
  // Called on the thread of Take or End, after each commit.
  using Acknowledge = std::function<void(const v1::IngestProgress&)>;

  IngestSession(const IngestDependencies& dependencies, CallContext context, Acknowledge acknowledge);
  // Gives the document back to other calls. What was not committed is lost.
  ~IngestSession();

  // Takes one message; blocks while its bytes are computed. Errors: see protos/ilre/v1/encoder.proto.
  absl::Status Take(const v1::IngestDocumentRequest& message);

  // The client has sent everything. OK: `last` is the last answer. Without finish_write what was received is committed,
  // and the document stays INGESTING.
  absl::Status End(v1::IngestProgress* last);

  // The call ends early: commits what was received and computed, if that is still possible and wanted, and computes
  // nothing more. Deletes a document that this call created and that has no committed byte.
  void Abandon();

  // Tokens computed by this call so far.
  uint64_t computed_tokens() const;
  // Bytes that this call made durable so far.
  uint64_t committed_bytes() const { return acknowledged_bytes_ - committed_before_; }

 private:
  absl::Status Open(const v1::IngestDocumentRequest& message);
  // Where the first byte of this call belongs: within what is stored (then it is compared) or right behind it.
  absl::Status Seek(uint64_t offset);
  absl::Status CheckOffset(uint64_t offset) const;
  absl::Status TakeBytes(absl::string_view bytes);
  // Compares the beginning of `bytes` with what is stored; removes what was equal.
  absl::Status CompareStored(absl::string_view* bytes);
  absl::Status BeginWriting();
  absl::Status ApplyExpiry();
  void AcknowledgeIfCommitted();
  absl::StatusOr<DocumentRow> CurrentRow() const;
  v1::IngestProgress Progress() const;
  // The error of a call whose work was stopped: by its client, its deadline, or another call for this document.
  absl::Status ExplainStop(const absl::Status& status) const;

  const IngestDependencies on_;
  const CallContext context_;
  const Acknowledge acknowledge_;

  std::string resource_name_;  // empty: no message yet
  StoredName name_;
  bool append_ = false, finish_ = false;
  bool failed_ = false;          // otherwise than by being stopped
  int64_t expire_time_ms_ = -1;  // -1: not said
  std::unique_ptr<IngestRegistry::Claim> claim_;
  bool created_ = false;                    // by this call
  bool sought_ = false;                     // whether position_ is known: once there was data
  uint64_t position_ = 0;                   // where the next byte belongs
  bool was_ready_ = false;                  // whether the document was READY when this call began
  std::unique_ptr<StoredText> stored_;      // while bytes are compared
  std::unique_ptr<DocumentIngest> ingest_;  // once bytes are written
  uint64_t tokens_before_ = 0;              // in the document before this call
  uint64_t committed_before_ = 0;           // bytes, likewise
  uint64_t acknowledged_bytes_ = 0;         // durable by now
};

}  // namespace ilre
