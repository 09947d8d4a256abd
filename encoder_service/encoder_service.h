// The Encoder service on the network.
#pragma once

#include <atomic>

#include "common/rpc/call_scope.h"
#include "common/rpc/executor.h"
#include "encoder_service/encoder_handler.h"
#include "encoder_service/ingest_slots.h"
#include "ilre/v1/encoder.grpc.pb.h"

namespace ilre {

struct EncoderExecutors {
  Executor& ingests;   // computes pieces of documents
  Executor& requests;  // everything else, which is quick
};

// Everything given must outlive it.
class EncoderService final : public v1::Encoder::CallbackService {
 public:
  EncoderService(EncoderHandler& handler, const EncoderExecutors& executors, int max_ingests, const ServerParts& parts)
      : handler_(handler), executors_(executors), slots_(max_ingests), parts_(parts) {}

  grpc::ServerBidiReactor<v1::IngestDocumentRequest, v1::IngestProgress>* IngestDocument(
      grpc::CallbackServerContext* context) override;
  grpc::ServerUnaryReactor* GetIngestStatus(grpc::CallbackServerContext* context,
                                            const v1::GetIngestStatusRequest* request,
                                            v1::IngestProgress* response) override;
  grpc::ServerUnaryReactor* CreateDocument(grpc::CallbackServerContext* context,
                                           const v1::CreateDocumentRequest* request, v1::Document* response) override;
  grpc::ServerUnaryReactor* GetDocument(grpc::CallbackServerContext* context, const v1::GetDocumentRequest* request,
                                        v1::Document* response) override;
  grpc::ServerUnaryReactor* ListDocuments(grpc::CallbackServerContext* context, const v1::ListDocumentsRequest* request,
                                          v1::ListDocumentsResponse* response) override;
  grpc::ServerUnaryReactor* UpdateDocument(grpc::CallbackServerContext* context,
                                           const v1::UpdateDocumentRequest* request, v1::Document* response) override;
  grpc::ServerUnaryReactor* DeleteDocument(grpc::CallbackServerContext* context,
                                           const v1::DeleteDocumentRequest* request,
                                           google::protobuf::Empty* response) override;

 private:
  EncoderHandler& handler_;
  const EncoderExecutors executors_;
  IngestSlots slots_;
  const ServerParts parts_;
};

}  // namespace ilre
