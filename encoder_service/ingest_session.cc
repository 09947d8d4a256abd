#include "encoder_service/ingest_session.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/api/document_proto.h"
#include "common/base/errors.h"
#include "common/base/status_macros.h"
#include "common/retrieval/model_match.h"

namespace ilre {
namespace {

// Bytes are handed to the ingest in pieces of this size, so that each commit is acknowledged soon after it.
constexpr size_t kPieceBytes = 32 << 10;

// Whether the client or its deadline ended the work: what was computed before is as good as ever.
bool IsStop(const absl::Status& status) { return absl::IsCancelled(status) || absl::IsDeadlineExceeded(status); }

}  // namespace

absl::Status EncoderLimits::Validate() const {
  if (max_document_bytes < 1) return errors::InvalidArgument("max_document_bytes is 0");
  IngestOptions options;
  options.commit_blocks = commit_blocks;
  return options.Validate();
}

IngestSession::IngestSession(const IngestDependencies& dependencies, CallContext context, Acknowledge acknowledge)
    : on_(dependencies), context_(std::move(context)), acknowledge_(std::move(acknowledge)) {}

IngestSession::~IngestSession() = default;

absl::StatusOr<DocumentRow> IngestSession::CurrentRow() const {
  return on_.store->GetDocument(name_.collection, name_.document);
}

absl::Status IngestSession::ExplainStop(const absl::Status& status) const {
  if (!absl::IsCancelled(status)) return status;
  if (claim_ != nullptr && claim_->revoked()) return IngestTakenOver(resource_name_);
  const absl::Status why = context_.Check("the ingest");
  return why.ok() ? status : why;
}

absl::Status IngestSession::Take(const v1::IngestDocumentRequest& message) {
  const auto take = [&]() -> absl::Status {
    ILRE_RETURN_IF_ERROR(context_.Check("the ingest"));
    if (finish_) return errors::InvalidField("finish_write", "a message came after the one that ended the document");
    if (message.data().size() > EncoderLimits::kMaxChunkBytes) {
      return errors::InvalidField(
          "data", absl::StrCat("has ", message.data().size(), " bytes; at most ", EncoderLimits::kMaxChunkBytes));
    }
    if (message.write_offset() < 0) return errors::InvalidField("write_offset", "is negative");
    if (resource_name_.empty()) {
      ILRE_RETURN_IF_ERROR(Open(message));
    } else {
      if (!message.name().empty() && message.name() != resource_name_) {
        return errors::InvalidField("name", "is not that of the first message");
      }
      if (message.has_options()) return errors::InvalidField("options", "may stand in the first message only");
      if (claim_->revoked()) return IngestTakenOver(resource_name_);
    }
    if (!message.data().empty()) {
      const uint64_t offset = static_cast<uint64_t>(message.write_offset());
      ILRE_RETURN_IF_ERROR(sought_ ? CheckOffset(offset) : Seek(offset));
      ILRE_RETURN_IF_ERROR(TakeBytes(message.data()));
    }
    finish_ = message.finish_write();
    if (message.flush() && !finish_ && ingest_ != nullptr) {
      ILRE_RETURN_IF_ERROR(ingest_->Flush());
      AcknowledgeIfCommitted();
    }
    return absl::OkStatus();
  };
  const absl::Status status = ExplainStop(take());
  failed_ = !status.ok() && !IsStop(status);
  return WithResource(status, resource_name_);
}

absl::Status IngestSession::Open(const v1::IngestDocumentRequest& message) {
  ILRE_ASSIGN_OR_RETURN(name_, ParseDocumentName(message.name(), context_.tenant, "name"));
  resource_name_ = message.name();
  if (message.options().append() && message.options().replace()) {
    return errors::InvalidField("options.append", "cannot be asked together with replace");
  }
  append_ = message.options().append();
  if (message.options().has_expire_time()) {
    ILRE_ASSIGN_OR_RETURN(expire_time_ms_,
                          ParseFutureTime(message.options().expire_time(), absl::Now(), "options.expire_time"));
  }
  ILRE_ASSIGN_OR_RETURN(claim_, on_.registry->Take(absl::StrCat(name_.collection, "/", name_.document),
                                                   [this] { return context_.Check("waiting for the document"); }));
  if (message.options().replace() && message.write_offset() == 0) {
    const absl::Status deleted = on_.store->DeleteDocument(name_.collection, name_.document);
    if (!deleted.ok() && !absl::IsNotFound(deleted)) return deleted;
  }
  const absl::StatusOr<DocumentRow> row = CurrentRow();
  if (absl::IsNotFound(row.status())) return absl::OkStatus();  // created with its first byte
  ILRE_RETURN_IF_ERROR(row.status());
  if (row->state != DocumentState::kFailed) ILRE_RETURN_IF_ERROR(CheckSameModel(*row, *on_.model));
  was_ready_ = row->state == DocumentState::kReady;
  acknowledged_bytes_ = committed_before_ = row->committed_bytes;
  return ApplyExpiry();
}

absl::Status IngestSession::Seek(uint64_t offset) {
  sought_ = true;
  position_ = acknowledged_bytes_;
  if (offset > position_) return CheckOffset(offset);
  if (position_ == 0 || (offset == position_ && !(was_ready_ && !append_))) return absl::OkStatus();
  ILRE_ASSIGN_OR_RETURN(DocumentRow row, CurrentRow());
  if (row.state == DocumentState::kFailed) return BeginWriting();  // which says so
  stored_ = std::make_unique<StoredText>(*on_.store, *on_.model, std::move(row));
  position_ = offset;
  return stored_->SkipTo(offset);
}

absl::Status IngestSession::ApplyExpiry() {
  if (expire_time_ms_ < 0) return absl::OkStatus();
  ILRE_ASSIGN_OR_RETURN(DocumentRow row, CurrentRow());
  if (row.expire_time_ms == expire_time_ms_) return absl::OkStatus();
  row.expire_time_ms = expire_time_ms_;
  return on_.store->UpdateRow(row).status();
}

absl::Status IngestSession::CheckOffset(uint64_t offset) const {
  if (offset == position_) return absl::OkStatus();
  const bool gap = offset > position_;
  absl::Status status =
      MakeError(absl::StatusCode::kOutOfRange, gap ? "OFFSET_GAP" : "OFFSET_OVERLAP",
                absl::StrCat("document ", resource_name_, ": data for offset ", offset, "; the next byte is ",
                             position_, ", and ", acknowledged_bytes_, " are committed"));
  return WithMetadata(status, "committed_bytes", absl::StrCat(acknowledged_bytes_));
}

absl::Status IngestSession::TakeBytes(absl::string_view bytes) {
  if (stored_ != nullptr) ILRE_RETURN_IF_ERROR(CompareStored(&bytes));
  if (bytes.empty()) return absl::OkStatus();
  if (position_ + bytes.size() > on_.limits.max_document_bytes) {
    return MakeError(absl::StatusCode::kResourceExhausted, "DOCUMENT_TOO_LARGE",
                     absl::StrCat("document ", resource_name_, " goes beyond ", on_.limits.max_document_bytes,
                                  " bytes, which a document may have"));
  }
  if (ingest_ == nullptr) ILRE_RETURN_IF_ERROR(BeginWriting());
  while (!bytes.empty()) {
    const absl::string_view piece = bytes.substr(0, kPieceBytes);
    ILRE_RETURN_IF_ERROR(ingest_->Write(piece));
    bytes.remove_prefix(piece.size());
    position_ += piece.size();
    AcknowledgeIfCommitted();
  }
  return absl::OkStatus();
}

absl::Status IngestSession::CompareStored(absl::string_view* bytes) {
  size_t matched = 0;
  ILRE_ASSIGN_OR_RETURN(const bool same, stored_->GoesOnWith(*bytes, &matched));
  bytes->remove_prefix(matched);
  position_ += matched;
  if (!same) {
    return MakeError(absl::StatusCode::kAlreadyExists, "CONTENT_DIFFERS",
                     absl::StrCat("document ", resource_name_, " has other content from byte ", position_, " on"));
  }
  if (!stored_->at_end()) return absl::OkStatus();
  if (was_ready_ && !append_) {
    if (bytes->empty()) return absl::OkStatus();
    return MakeError(absl::StatusCode::kAlreadyExists, "DOCUMENT_EXISTS",
                     absl::StrCat("document ", resource_name_, " is finished at byte ", position_));
  }
  stored_.reset();
  return absl::OkStatus();
}

absl::Status IngestSession::BeginWriting() {
  if (absl::IsNotFound(CurrentRow().status())) {
    DocumentRow row;
    row.collection = name_.collection;
    row.document = name_.document;
    row.model = on_.model->model_fingerprint();
    row.tokenizer = on_.model->tokenizer().fingerprint();
    row.profile = on_.model->encoding_fingerprint();
    row.expire_time_ms = std::max<int64_t>(0, expire_time_ms_);
    ILRE_RETURN_IF_ERROR(on_.store->CreateDocument(row).status());
    created_ = true;
  }
  IngestOptions options;
  options.commit_blocks = on_.limits.commit_blocks;
  options.should_stop = [this] { return claim_->revoked() || context_.ShouldStop(); };
  ILRE_ASSIGN_OR_RETURN(
      ingest_, DocumentIngest::Begin(*on_.store, *on_.model, name_.collection, name_.document, append_, options));
  tokens_before_ = ingest_->progress().num_tokens;
  if (ingest_->progress().received_bytes == position_) return absl::OkStatus();
  return MakeError(absl::StatusCode::kAborted, "DOCUMENT_CHANGED",
                   absl::StrCat("document ", resource_name_, " has changed meanwhile"));
}

uint64_t IngestSession::computed_tokens() const {
  return ingest_ == nullptr ? 0
                            : ingest_->progress().num_tokens - std::min(ingest_->progress().num_tokens, tokens_before_);
}

v1::IngestProgress IngestSession::Progress() const {
  v1::IngestProgress progress;
  progress.set_committed_bytes(static_cast<int64_t>(ingest_->progress().committed_bytes));
  progress.set_token_count(static_cast<int64_t>(ingest_->row().num_tokens));
  progress.set_computed_tokens(static_cast<int64_t>(computed_tokens()));
  return progress;
}

void IngestSession::AcknowledgeIfCommitted() {
  if (ingest_->progress().committed_bytes <= acknowledged_bytes_) return;
  acknowledged_bytes_ = ingest_->progress().committed_bytes;
  if (acknowledge_) acknowledge_(Progress());
}

absl::Status IngestSession::End(v1::IngestProgress* last) {
  if (absl::Status stopped = context_.Check("the ingest"); !stopped.ok()) {
    Abandon();
    return WithResource(stopped, resource_name_);
  }
  const auto end = [&]() -> absl::Status {
    if (resource_name_.empty()) return errors::InvalidField("name", "no message came");
    if (finish_ && stored_ != nullptr && !stored_->at_end()) {
      return MakeError(absl::StatusCode::kAlreadyExists, "CONTENT_DIFFERS",
                       absl::StrCat("document ", resource_name_, " is longer than what was sent: it has more than ",
                                    position_, " bytes"));
    }
    if (finish_ && !sought_) position_ = acknowledged_bytes_;
    if (finish_ && ingest_ == nullptr && !was_ready_) {
      if (position_ == 0) {
        return MakeError(absl::StatusCode::kInvalidArgument, "EMPTY_DOCUMENT",
                         absl::StrCat("document ", resource_name_, " is empty"));
      }
      ILRE_RETURN_IF_ERROR(BeginWriting());
    }
    if (ingest_ != nullptr) ILRE_RETURN_IF_ERROR(finish_ ? ingest_->Finish() : ingest_->Flush());
    if (ingest_ != nullptr) acknowledged_bytes_ = ingest_->progress().committed_bytes;
    ILRE_ASSIGN_OR_RETURN(const DocumentRow row, CurrentRow());
    last->set_committed_bytes(static_cast<int64_t>(row.committed_bytes));
    last->set_token_count(static_cast<int64_t>(row.num_tokens));
    last->set_computed_tokens(static_cast<int64_t>(computed_tokens()));
    ToProto(row, last->mutable_document());
    return absl::OkStatus();
  };
  const absl::Status status = ExplainStop(end());
  failed_ = !status.ok() && !IsStop(status);
  if (!status.ok()) Abandon();
  return WithResource(status, resource_name_);
}

void IngestSession::Abandon() {
  if (ingest_ != nullptr && !failed_ && !claim_->revoked()) {
    ingest_->CommitComputed().IgnoreError();
    acknowledged_bytes_ = ingest_->progress().committed_bytes;
  }
  if (!created_) return;
  // A document without a byte is of no use to anybody, least of all one that was refused as no text.
  const absl::StatusOr<DocumentRow> row = CurrentRow();
  if (row.ok() && row->committed_bytes == 0 && row->state == DocumentState::kIngesting) {
    on_.store->DeleteDocument(name_.collection, name_.document).IgnoreError();
  }
}

}  // namespace ilre
