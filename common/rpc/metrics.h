// What a server counts, for Prometheus. Names: docs/operations.md. No label takes values from outside.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace ilre {

class Executor;

// Something that is read whenever metrics are asked for, for as long as this object lives. The destructor waits for a
// reading that is going on.
class MetricSource {
 public:
  virtual ~MetricSource() = default;
};

// The metrics of one process. Thread-safe. Not a singleton: servers in one process that share it are told apart by the
// `service` and `method` labels.
class ServiceMetrics {
 public:
  ServiceMetrics();
  ~ServiceMetrics();
  ServiceMetrics(const ServiceMetrics&) = delete;
  ServiceMetrics& operator=(const ServiceMetrics&) = delete;

  // ilre_requests_total{method,code}, ilre_request_seconds{method}. `method` must be one of a fixed few.
  void RecordRequest(absl::string_view method, absl::StatusCode code, absl::Duration took);
  // ilre_ingested_tokens_total, ilre_ingested_bytes_total: what became durable.
  void AddIngested(int64_t tokens, int64_t bytes);
  // ilre_recalled_tokens_total, ilre_searched_tokens_total: their quotient is the share of documents that was recalled.
  void AddRecalled(int64_t recalled_tokens, int64_t searched_tokens);
  // ilre_time_to_first_token_seconds: from a request to the first token of its answer.
  void RecordTimeToFirstToken(absl::Duration took);
  // ilre_decoded_tokens_total.
  void AddDecodedTokens(int64_t tokens);
  // ilre_ready: 1 when the server takes calls.
  void SetReady(bool ready);

  // ilre_queue_depth{service}, ilre_running_requests{service}.
  [[nodiscard]] std::unique_ptr<MetricSource> WatchExecutor(absl::string_view service, const Executor& executor);

  // ilre_store_bytes, ilre_documents.
  struct StoreFigures {
    int64_t bytes = 0;
    int64_t documents = 0;
  };
  [[nodiscard]] std::unique_ptr<MetricSource> WatchStore(std::function<StoreFigures()> read);

  // ilre_key_cache_hits_total, ilre_key_cache_misses_total, ilre_key_cache_bytes.
  struct KeyCacheFigures {
    int64_t hits = 0;
    int64_t misses = 0;
    int64_t bytes = 0;
  };
  [[nodiscard]] std::unique_ptr<MetricSource> WatchKeyCache(std::function<KeyCacheFigures()> read);

  // Any other figure, with at most one label. `name` by the Prometheus conventions (counters end with _total). Sources
  // of one name and different labels become one family. `read` is called from the thread that scrapes, should be quick,
  // and must not call this object.
  enum class Kind { kGauge, kCounter };
  struct Label {
    std::string name, value;  // both empty: no label
  };
  [[nodiscard]] std::unique_ptr<MetricSource> Watch(Kind kind, absl::string_view name, absl::string_view help,
                                                    const Label& label, std::function<double()> read);

  // The text exposition format, version 0.0.4.
  std::string Text() const;

 private:
  class Impl;
  const std::unique_ptr<Impl> impl_;
};

}  // namespace ilre
