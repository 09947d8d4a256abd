#include "retriever_service/retriever_service.h"

#include "common/rpc/unary_call.h"

namespace ilre {

grpc::ServerUnaryReactor* RetrieverService::Retrieve(grpc::CallbackServerContext* context,
                                                     const v1::RetrieveRequest* request,
                                                     v1::RetrieveResponse* response) {
  return UnaryCall::Start(context, "ilre.v1.Retriever/Retrieve", parts_, executor_, "questions",
                          [=, this](const CallContext& call) {
                            absl::Status status = handler_.Retrieve(call, *request, response);
                            if (status.ok()) {
                              parts_.metrics.AddRecalled(response->recalled_tokens(), response->document_tokens());
                            }
                            return status;
                          });
}

grpc::ServerUnaryReactor* RetrieverService::ScoreDocument(grpc::CallbackServerContext* context,
                                                          const v1::ScoreDocumentRequest* request,
                                                          v1::ScoreDocumentResponse* response) {
  return UnaryCall::Start(
      context, "ilre.v1.Retriever/ScoreDocument", parts_, executor_, "questions",
      [=, this](const CallContext& call) { return handler_.ScoreDocument(call, *request, response); });
}

grpc::ServerUnaryReactor* RetrieverService::ReadText(grpc::CallbackServerContext* context,
                                                     const v1::ReadTextRequest* request,
                                                     v1::ReadTextResponse* response) {
  return UnaryCall::Start(context, "ilre.v1.Retriever/ReadText", parts_, executor_, "questions",
                          [=, this](const CallContext& call) { return handler_.ReadText(call, *request, response); });
}

}  // namespace ilre
