// Decodes many answers together (continuous batching): requests join and leave between tokens, and the weights are read
// once for one token of each.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "common/model/decoder.h"
#include "common/model/tokenizer.h"
#include "generator_service/answer_stream.h"

namespace ilre {

struct BatchOptions {
  int max_running = 8;   // answers decoded together, at least 1
  int max_waiting = 64;  // requests behind them; one more is refused
  // KV caches of all running answers together, by Decoder::CacheBytes. A request whose own does not fit yet waits, and
  // so do those behind it.
  int64_t max_cache_bytes = int64_t{1} << 30;
  // Prompt tokens that run in one step beside the running answers' one token each: so much a joining prompt holds them
  // up, and in such chunks it is read.
  int prefill_tokens = 128;
  absl::Status Validate() const;
};

struct BatchStats {
  // Now:
  int64_t running = 0, waiting = 0;  // requests
  int64_t cache_bytes = 0;           // that the running ones have reserved
  // Since the start:
  int64_t steps = 0;                                             // calls of the model
  int64_t prompt_tokens = 0;                                     // run
  int64_t decoded_tokens = 0;                                    // chosen, end tokens among them
  int64_t finished = 0, cancelled = 0, failed = 0, refused = 0;  // requests
  // Tokens that the model ran for requests that were cancelled meanwhile: at most one for each of these.
  int64_t tokens_after_cancel = 0;
};

// Thread-safe. One thread of its own decodes; computations run on DefaultPool().
class BatchGenerator {
 public:
  // `decoder` must have all layers; both must outlive this. `options` must be valid.
  BatchGenerator(const Decoder& decoder, const Tokenizer& tokenizer, const BatchOptions& options);
  // Cancels what is running or waiting: those calls return CANCELLED. Returns when the last call has.
  ~BatchGenerator();
  BatchGenerator(const BatchGenerator&) = delete;
  BatchGenerator& operator=(const BatchGenerator&) = delete;

  // As Generator::Generate, with the same answers (bit for bit on device "cpu"), for calls of any number of threads.
  //
  // `emit` and `options.should_stop` are called on the calling thread alone. While `emit` is busy the answer goes on,
  // and its text gathers here (no more than max_tokens tokens of it): a slow reader holds up nobody. should_stop is
  // asked after each of the answer's tokens and every 20 ms, also while the request waits; an answer that is cancelled,
  // or whose `emit` failed, takes no further part from the next token on, and where all running ones are cancelled the
  // model stops between two layers.
  //
  // Errors beside those of Generator::Generate: RESOURCE_EXHAUSTED with reason OVERLOADED (too many are waiting; try
  // later), INVALID_ARGUMENT with reason CACHE_LIMIT (never fits max_cache_bytes), UNAVAILABLE with reason DRAINING,
  // CANCELLED by the destructor.
  absl::StatusOr<Generation> Generate(absl::Span<const TokenId> prompt, const GenerateOptions& options,
                                      const std::function<absl::Status(absl::string_view)>& emit);

  // From now on new requests are refused; those that are running or waiting go on to their end. Returns at once.
  void Drain();
  // Waits until no call of Generate is left; false when `timeout` has passed before.
  bool WaitIdle(absl::Duration timeout);

  BatchStats stats() const;

 private:
  struct Request;
  using RequestPtr = std::shared_ptr<Request>;

  // Of callers:
  absl::Status Submit(const RequestPtr& request);
  absl::StatusOr<Generation> Follow(Request* request, const std::function<bool()>& should_stop,
                                    const std::function<absl::Status(absl::string_view)>& emit);
  void CancelLocked(Request* request);

  // Of the decoding thread:
  void Run();
  void Step(const std::vector<RequestPtr>& batch, BatchStats* counts) const;
  void RunModel(const std::vector<Request*>& members, BatchStats* counts) const;
  void AdvanceAll(const std::vector<Request*>& members, BatchStats* counts) const;
  void PublishLocked(const std::vector<RequestPtr>& batch, const BatchStats& counts);
  void CancelAllLocked();

  void AdmitLocked();  // moves requests from waiting_ to running_, in their order, as far as there is room
  void EndLocked(Request* request);

  const Decoder& decoder_;
  const Tokenizer& tokenizer_;
  const BatchOptions options_;

  mutable std::mutex mutex_;  // guards all below, and what Request says
  std::condition_variable work_, idle_;
  std::deque<RequestPtr> waiting_;
  std::vector<RequestPtr> running_;
  BatchStats stats_;  // but running and waiting
  int64_t calls_ = 0;
  bool draining_ = false, stopping_ = false;

  std::thread thread_;  // last: it uses all of the above
};

}  // namespace ilre
