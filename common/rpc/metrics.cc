#include "common/rpc/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <algorithm>
#include <list>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

#include "common/rpc/executor.h"

namespace ilre {
namespace {

// Seconds. From a status lookup to the ingest of a book.
const prometheus::Histogram::BucketBoundaries kRequestBuckets = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25,
                                                                 0.5,   1,      2.5,   5,    10,    30,   60,  300};
const prometheus::Histogram::BucketBoundaries kFirstTokenBuckets = {0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75,
                                                                    1,    1.5, 2,    3,   5,   10,  30};

struct Reader {
  ServiceMetrics::Kind kind;
  std::string name, help;
  ServiceMetrics::Label label;
  std::function<double()> read;
};

// The readers that are alive. Outlives ServiceMetrics as long as a source does.
class Readers {
 public:
  using Place = std::list<Reader>::iterator;

  Place Add(Reader reader) {
    std::lock_guard lock(mutex_);
    return readers_.insert(readers_.end(), std::move(reader));
  }

  void Remove(Place place) {
    std::lock_guard lock(mutex_);
    readers_.erase(place);
  }

  void AppendTo(std::vector<prometheus::MetricFamily>* families) {
    std::lock_guard lock(mutex_);
    std::map<std::string, prometheus::MetricFamily> by_name;
    for (const Reader& reader : readers_) {
      prometheus::MetricFamily& family = by_name[reader.name];
      const bool is_counter = reader.kind == ServiceMetrics::Kind::kCounter;
      family.name = reader.name;
      family.help = reader.help;
      family.type = is_counter ? prometheus::MetricType::Counter : prometheus::MetricType::Gauge;
      prometheus::ClientMetric metric;
      if (!reader.label.name.empty()) metric.label.push_back({reader.label.name, reader.label.value});
      (is_counter ? metric.counter.value : metric.gauge.value) = reader.read();
      family.metric.push_back(std::move(metric));
    }
    for (auto& [name, family] : by_name) families->push_back(std::move(family));
  }

 private:
  std::mutex mutex_;
  std::list<Reader> readers_;
};

// A few readings that come and go together.
class ReaderSource : public MetricSource {
 public:
  explicit ReaderSource(std::shared_ptr<Readers> readers) : readers_(std::move(readers)) {}
  ~ReaderSource() override {
    for (Readers::Place place : places_) readers_->Remove(place);
  }

  void Add(ServiceMetrics::Kind kind, absl::string_view name, absl::string_view help,
           const ServiceMetrics::Label& label, std::function<double()> read) {
    places_.push_back(readers_->Add({kind, std::string(name), std::string(help), label, std::move(read)}));
  }

 private:
  const std::shared_ptr<Readers> readers_;
  std::vector<Readers::Place> places_;
};

}  // namespace

class ServiceMetrics::Impl {
 public:
  prometheus::Counter& Counter(const char* name, const char* help) {
    return prometheus::BuildCounter().Name(name).Help(help).Register(registry).Add({});
  }

  prometheus::Registry registry;
  const std::shared_ptr<Readers> readers = std::make_shared<Readers>();
  prometheus::Family<prometheus::Counter>& requests = prometheus::BuildCounter()
                                                          .Name("ilre_requests_total")
                                                          .Help("Calls that ended, by method and canonical code.")
                                                          .Register(registry);
  prometheus::Family<prometheus::Histogram>& request_seconds = prometheus::BuildHistogram()
                                                                   .Name("ilre_request_seconds")
                                                                   .Help("From a call's arrival to its end.")
                                                                   .Register(registry);
  prometheus::Counter& ingested_tokens =
      Counter("ilre_ingested_tokens_total", "Tokens of documents that became durable.");
  prometheus::Counter& ingested_bytes = Counter("ilre_ingested_bytes_total", "Bytes of documents that became durable.");
  prometheus::Counter& recalled_tokens = Counter("ilre_recalled_tokens_total", "Tokens that questions recalled.");
  prometheus::Counter& searched_tokens =
      Counter("ilre_searched_tokens_total", "Tokens of the documents that questions were asked of.");
  prometheus::Counter& decoded_tokens = Counter("ilre_decoded_tokens_total", "Tokens of answers.");
  prometheus::Histogram& first_token_seconds = prometheus::BuildHistogram()
                                                   .Name("ilre_time_to_first_token_seconds")
                                                   .Help("From a question's arrival to the first token of its answer.")
                                                   .Register(registry)
                                                   .Add({}, kFirstTokenBuckets);
  prometheus::Gauge& ready =
      prometheus::BuildGauge().Name("ilre_ready").Help("1 when the server takes calls.").Register(registry).Add({});
};

ServiceMetrics::ServiceMetrics() : impl_(std::make_unique<Impl>()) {}
ServiceMetrics::~ServiceMetrics() = default;

void ServiceMetrics::RecordRequest(absl::string_view method, absl::StatusCode code, absl::Duration took) {
  const std::string name(method);
  const std::string code_name = code == absl::StatusCode::kOk ? "OK" : absl::StatusCodeToString(code);
  impl_->requests.Add({{"method", name}, {"code", code_name}}).Increment();
  impl_->request_seconds.Add({{"method", name}}, kRequestBuckets).Observe(absl::ToDoubleSeconds(took));
}

void ServiceMetrics::AddIngested(int64_t tokens, int64_t bytes) {
  impl_->ingested_tokens.Increment(static_cast<double>(tokens));
  impl_->ingested_bytes.Increment(static_cast<double>(bytes));
}

void ServiceMetrics::AddRecalled(int64_t recalled_tokens, int64_t searched_tokens) {
  impl_->recalled_tokens.Increment(static_cast<double>(recalled_tokens));
  impl_->searched_tokens.Increment(static_cast<double>(searched_tokens));
}

void ServiceMetrics::RecordTimeToFirstToken(absl::Duration took) {
  impl_->first_token_seconds.Observe(absl::ToDoubleSeconds(took));
}

void ServiceMetrics::AddDecodedTokens(int64_t tokens) { impl_->decoded_tokens.Increment(static_cast<double>(tokens)); }

void ServiceMetrics::SetReady(bool ready) { impl_->ready.Set(ready ? 1 : 0); }

std::unique_ptr<MetricSource> ServiceMetrics::WatchExecutor(absl::string_view service, const Executor& executor) {
  auto source = std::make_unique<ReaderSource>(impl_->readers);
  const Label label{"service", std::string(service)};
  source->Add(Kind::kGauge, "ilre_queue_depth", "Calls that wait for a thread.", label,
              [&executor] { return static_cast<double>(executor.waiting()); });
  source->Add(Kind::kGauge, "ilre_running_requests", "Calls that are worked on now.", label,
              [&executor] { return static_cast<double>(executor.running()); });
  return source;
}

std::unique_ptr<MetricSource> ServiceMetrics::WatchStore(std::function<StoreFigures()> read) {
  auto source = std::make_unique<ReaderSource>(impl_->readers);
  source->Add(Kind::kGauge, "ilre_store_bytes", "Bytes of the key store on disk.", {},
              [read] { return static_cast<double>(read().bytes); });
  source->Add(Kind::kGauge, "ilre_documents", "Documents in the key store.", {},
              [read] { return static_cast<double>(read().documents); });
  return source;
}

std::unique_ptr<MetricSource> ServiceMetrics::WatchKeyCache(std::function<KeyCacheFigures()> read) {
  auto source = std::make_unique<ReaderSource>(impl_->readers);
  source->Add(Kind::kCounter, "ilre_key_cache_hits_total", "Documents whose keys were in memory.", {},
              [read] { return static_cast<double>(read().hits); });
  source->Add(Kind::kCounter, "ilre_key_cache_misses_total", "Documents whose keys were read from the store.", {},
              [read] { return static_cast<double>(read().misses); });
  source->Add(Kind::kGauge, "ilre_key_cache_bytes", "Bytes of keys in memory.", {},
              [read] { return static_cast<double>(read().bytes); });
  return source;
}

std::unique_ptr<MetricSource> ServiceMetrics::Watch(Kind kind, absl::string_view name, absl::string_view help,
                                                    const Label& label, std::function<double()> read) {
  auto source = std::make_unique<ReaderSource>(impl_->readers);
  source->Add(kind, name, help, label, std::move(read));
  return source;
}

std::string ServiceMetrics::Text() const {
  std::vector<prometheus::MetricFamily> families = impl_->registry.Collect();
  impl_->readers->AppendTo(&families);
  return prometheus::TextSerializer().Serialize(families);
}

}  // namespace ilre
