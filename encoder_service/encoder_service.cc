#include "encoder_service/encoder_service.h"

#include "common/rpc/unary_call.h"
#include "encoder_service/ingest_call_service.h"

namespace ilre {

grpc::ServerBidiReactor<v1::IngestDocumentRequest, v1::IngestProgress>* EncoderService::IngestDocument(
    grpc::CallbackServerContext* context) {
  return IngestCall::Start(context, parts_, handler_, executors_.ingests, slots_);
}

grpc::ServerUnaryReactor* EncoderService::GetIngestStatus(grpc::CallbackServerContext* context,
                                                          const v1::GetIngestStatusRequest* request,
                                                          v1::IngestProgress* response) {
  return UnaryCall::Start(
      context, "ilre.v1.Encoder/GetIngestStatus", parts_, executors_.requests, "requests",
      [=, this](const CallContext& call) { return handler_.GetIngestStatus(call, *request, response); });
}

grpc::ServerUnaryReactor* EncoderService::CreateDocument(grpc::CallbackServerContext* context,
                                                         const v1::CreateDocumentRequest* request,
                                                         v1::Document* response) {
  return UnaryCall::Start(
      context, "ilre.v1.Encoder/CreateDocument", parts_, executors_.requests, "requests",
      [=, this](const CallContext& call) { return handler_.CreateDocument(call, *request, response); });
}

grpc::ServerUnaryReactor* EncoderService::GetDocument(grpc::CallbackServerContext* context,
                                                      const v1::GetDocumentRequest* request, v1::Document* response) {
  return UnaryCall::Start(
      context, "ilre.v1.Encoder/GetDocument", parts_, executors_.requests, "requests",
      [=, this](const CallContext& call) { return handler_.GetDocument(call, *request, response); });
}

grpc::ServerUnaryReactor* EncoderService::ListDocuments(grpc::CallbackServerContext* context,
                                                        const v1::ListDocumentsRequest* request,
                                                        v1::ListDocumentsResponse* response) {
  return UnaryCall::Start(
      context, "ilre.v1.Encoder/ListDocuments", parts_, executors_.requests, "requests",
      [=, this](const CallContext& call) { return handler_.ListDocuments(call, *request, response); });
}

grpc::ServerUnaryReactor* EncoderService::UpdateDocument(grpc::CallbackServerContext* context,
                                                         const v1::UpdateDocumentRequest* request,
                                                         v1::Document* response) {
  return UnaryCall::Start(
      context, "ilre.v1.Encoder/UpdateDocument", parts_, executors_.requests, "requests",
      [=, this](const CallContext& call) { return handler_.UpdateDocument(call, *request, response); });
}

grpc::ServerUnaryReactor* EncoderService::DeleteDocument(grpc::CallbackServerContext* context,
                                                         const v1::DeleteDocumentRequest* request,
                                                         google::protobuf::Empty* /*response*/) {
  return UnaryCall::Start(context, "ilre.v1.Encoder/DeleteDocument", parts_, executors_.requests, "requests",
                          [=, this](const CallContext& call) { return handler_.DeleteDocument(call, *request); });
}

}  // namespace ilre
