// The Encoder service without its transport: validates requests, calls the ingest core and the store, converts.
#pragma once

#include <memory>

#include "absl/status/status.h"
#include "common/base/call_context.h"
#include "common/retrieval/retrieval_model.h"
#include "common/store/key_store.h"
#include "encoder_service/ingest_registry.h"
#include "encoder_service/ingest_session.h"
#include "ilre/v1/encoder.pb.h"

namespace ilre {

// Thread-safe. Methods block. Everything given must outlive it, and it its sessions.
class EncoderHandler {
 public:
  EncoderHandler(KeyStore& store, const RetrievalModel& model, const EncoderLimits& limits)
      : store_(store), model_(model), limits_(limits) {}

  // Errors of each method: see protos/ilre/v1/encoder.proto.
  std::unique_ptr<IngestSession> NewIngest(const CallContext& context, IngestSession::Acknowledge acknowledge);
  absl::Status GetIngestStatus(const CallContext& context, const v1::GetIngestStatusRequest& request,
                               v1::IngestProgress* response);
  absl::Status CreateDocument(const CallContext& context, const v1::CreateDocumentRequest& request,
                              v1::Document* response);
  absl::Status GetDocument(const CallContext& context, const v1::GetDocumentRequest& request, v1::Document* response);
  absl::Status ListDocuments(const CallContext& context, const v1::ListDocumentsRequest& request,
                             v1::ListDocumentsResponse* response);
  absl::Status UpdateDocument(const CallContext& context, const v1::UpdateDocumentRequest& request,
                              v1::Document* response);
  absl::Status DeleteDocument(const CallContext& context, const v1::DeleteDocumentRequest& request);

  // Ingests that are running.
  int num_ingests() const { return registry_.num_claims(); }

 private:
  KeyStore& store_;
  const RetrievalModel& model_;
  const EncoderLimits limits_;
  IngestRegistry registry_;
};

}  // namespace ilre
