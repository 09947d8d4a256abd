#include "encoder_service/encoder_server.h"

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "common/base/errors.h"
#include "common/base/status_macros.h"

namespace ilre {
namespace {

constexpr absl::Duration kSweepInterval = absl::Seconds(1);

}  // namespace

absl::Status EncoderServerOptions::Validate() const {
  ILRE_RETURN_IF_ERROR(limits.Validate());
  ILRE_RETURN_IF_ERROR((ExecutorOptions{.num_threads = ingest_workers}).Validate());
  ILRE_RETURN_IF_ERROR((ExecutorOptions{.num_threads = max_running, .max_waiting = max_waiting}).Validate());
  if (max_ingests < 1 || max_ingests > 100'000) {
    return errors::InvalidArgument("the number of open ingests is not in 1 to 100000");
  }
  return absl::OkStatus();
}

EncoderServer::EncoderServer(KeyStore& store, const RetrievalModel& model, const EncoderServerOptions& options,
                             const ServerParts& parts)
    : store_(store),
      parts_(parts),
      handler_(store, model, options.limits),
      ingests_({.num_threads = options.ingest_workers, .max_waiting = options.max_ingests}),
      requests_({.num_threads = options.max_running, .max_waiting = options.max_waiting}),
      service_(handler_, {ingests_, requests_}, options.max_ingests, parts),
      sweeper_([this] { Sweep(); }) {
  sources_.push_back(parts_.metrics.WatchExecutor("encoder", ingests_));
  sources_.push_back(parts_.metrics.WatchStore([this] {
    const KeyStore::Usage usage = store_.TotalUsage();
    return ServiceMetrics::StoreFigures{static_cast<int64_t>(usage.bytes), static_cast<int64_t>(usage.num_documents)};
  }));
}

EncoderServer::~EncoderServer() {
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
  }
  sweeper_.join();
}

void EncoderServer::Sweep() {
  for (;;) {
    {
      absl::MutexLock lock(&mutex_);
      if (mutex_.AwaitWithTimeout(absl::Condition(&stopping_), kSweepInterval)) return;
    }
    const absl::StatusOr<int> expired = store_.ExpireDocuments(absl::Now());
    if (!expired.ok()) {
      parts_.log.Log(LogLevel::kWarning, "expired documents could not be deleted",
                     {LogField("error", expired.status().message())});
    } else if (*expired > 0) {
      parts_.log.Log(LogLevel::kInfo, "deleted expired documents", {LogField("documents", int64_t{*expired})});
    }
  }
}

}  // namespace ilre
