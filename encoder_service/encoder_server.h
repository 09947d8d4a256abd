// Everything of the Encoder in one process: executors, handler, service, and what has to be done now and then.
#pragma once

#include <memory>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "common/retrieval/retrieval_model.h"
#include "common/rpc/call_scope.h"
#include "common/rpc/executor.h"
#include "common/rpc/metrics.h"
#include "common/store/key_store.h"
#include "encoder_service/encoder_handler.h"
#include "encoder_service/encoder_service.h"

namespace ilre {

struct EncoderServerOptions {
  EncoderLimits limits;
  int ingest_workers = 2;  // ingests that compute at once; others wait for their turn
  int max_ingests = 32;    // open IngestDocument calls; one more is refused
  int max_running = 4;     // other requests at once
  int max_waiting = 64;    // other requests behind them
  absl::Status Validate() const;
};

// Everything given must outlive it. The gRPC server must be shut down before it ends.
class EncoderServer {
 public:
  // `options` must be valid.
  EncoderServer(KeyStore& store, const RetrievalModel& model, const EncoderServerOptions& options,
                const ServerParts& parts);
  ~EncoderServer();

  grpc::Service* service() { return &service_; }
  EncoderHandler& handler() { return handler_; }
  Executor& ingests() { return ingests_; }
  Executor& requests() { return requests_; }

 private:
  void Sweep();

  KeyStore& store_;
  const ServerParts parts_;
  EncoderHandler handler_;
  Executor ingests_, requests_;
  EncoderService service_;
  std::vector<std::unique_ptr<MetricSource>> sources_;
  absl::Mutex mutex_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread sweeper_;  // deletes documents whose time has come
};

}  // namespace ilre
