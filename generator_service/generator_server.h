// Everything of the Generator in one process: executor, batch of answers, handler, service.
#pragma once

#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/model/decoder.h"
#include "common/model/tokenizer.h"
#include "common/rpc/call_scope.h"
#include "common/rpc/executor.h"
#include "common/rpc/metrics.h"
#include "generator_service/batch_generator.h"
#include "generator_service/generator_handler.h"
#include "generator_service/generator_service.h"
#include "generator_service/retrieval_source.h"

namespace ilre {

struct GeneratorServerOptions {
  int max_running = 8;   // answers decoded together
  int max_waiting = 64;  // requests behind them
  absl::Status Validate() const;
};

// Everything given must outlive it. The gRPC server must be shut down before it ends.
class GeneratorServer {
 public:
  // `options` must be valid. Fails where the model has no chat template that is known.
  static absl::StatusOr<std::unique_ptr<GeneratorServer>> Create(RetrievalSource& retrieval, const Decoder& decoder,
                                                                 const Tokenizer& tokenizer,
                                                                 const GeneratorServerOptions& options,
                                                                 const ServerParts& parts);

  grpc::Service* service() { return &service_; }
  GeneratorHandler& handler() { return handler_; }
  Executor& executor() { return executor_; }

 private:
  GeneratorServer(RetrievalSource& retrieval, const Decoder& decoder, const Tokenizer& tokenizer, ChatTemplate chat,
                  const GeneratorServerOptions& options, const ServerParts& parts);

  BatchGenerator generator_;
  GeneratorHandler handler_;
  Executor executor_;
  GeneratorService service_;
  std::vector<std::unique_ptr<MetricSource>> sources_;
};

}  // namespace ilre
