// Everything of the Retriever in one process: executor, handler, service.
#pragma once

#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "common/retrieval/retrieval_model.h"
#include "common/rpc/call_scope.h"
#include "common/rpc/executor.h"
#include "common/rpc/metrics.h"
#include "common/store/key_store.h"
#include "retriever_service/retriever_handler.h"
#include "retriever_service/retriever_service.h"

namespace ilre {

struct RetrieverServerOptions {
  int max_running = 4;   // questions at once
  int max_waiting = 64;  // questions behind them
  absl::Status Validate() const {
    return (ExecutorOptions{.num_threads = max_running, .max_waiting = max_waiting}).Validate();
  }
};

// Everything given must outlive it. The gRPC server must be shut down before it ends.
class RetrieverServer {
 public:
  // `options` must be valid.
  RetrieverServer(KeyStoreReader& store, const RetrievalModel& model, const RetrieverServerOptions& options,
                  const ServerParts& parts)
      : handler_(model, store),
        executor_({.num_threads = options.max_running, .max_waiting = options.max_waiting}),
        service_(handler_, executor_, parts) {
    sources_.push_back(parts.metrics.WatchExecutor("retriever", executor_));
  }

  grpc::Service* service() { return &service_; }
  RetrieverHandler& handler() { return handler_; }
  Executor& executor() { return executor_; }

 private:
  RetrieverHandler handler_;
  Executor executor_;
  RetrieverService service_;
  std::vector<std::unique_ptr<MetricSource>> sources_;
};

}  // namespace ilre
