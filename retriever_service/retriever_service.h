// The Retriever service on the network.
#pragma once

#include "common/rpc/call_scope.h"
#include "common/rpc/executor.h"
#include "ilre/v1/retriever.grpc.pb.h"
#include "retriever_service/retriever_handler.h"

namespace ilre {

// Everything given must outlive it.
class RetrieverService final : public v1::Retriever::CallbackService {
 public:
  RetrieverService(RetrieverHandler& handler, Executor& executor, const ServerParts& parts)
      : handler_(handler), executor_(executor), parts_(parts) {}

  grpc::ServerUnaryReactor* Retrieve(grpc::CallbackServerContext* context, const v1::RetrieveRequest* request,
                                     v1::RetrieveResponse* response) override;
  grpc::ServerUnaryReactor* ScoreDocument(grpc::CallbackServerContext* context, const v1::ScoreDocumentRequest* request,
                                          v1::ScoreDocumentResponse* response) override;
  grpc::ServerUnaryReactor* ReadText(grpc::CallbackServerContext* context, const v1::ReadTextRequest* request,
                                     v1::ReadTextResponse* response) override;

 private:
  RetrieverHandler& handler_;
  Executor& executor_;
  const ServerParts parts_;
};

}  // namespace ilre
