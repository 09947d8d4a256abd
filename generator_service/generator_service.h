// The Generator service on the network.
#pragma once

#include "common/rpc/call_scope.h"
#include "common/rpc/executor.h"
#include "generator_service/generator_handler.h"
#include "ilre/v1/generator.grpc.pb.h"

namespace ilre {

// Everything given must outlive it.
class GeneratorService final : public v1::Generator::CallbackService {
 public:
  GeneratorService(GeneratorHandler& handler, Executor& executor, const ServerParts& parts)
      : handler_(handler), executor_(executor), parts_(parts) {}

  grpc::ServerWriteReactor<v1::GenerateResponse>* Generate(grpc::CallbackServerContext* context,
                                                           const v1::GenerateRequest* request) override;

 private:
  GeneratorHandler& handler_;
  Executor& executor_;
  const ServerParts parts_;
};

// Counts what an answer was made of as its events pass by: for every transport.
void CountGeneration(const v1::GenerateResponse& event, ServiceMetrics& metrics);

}  // namespace ilre
