#include "generator_service/batch_generator.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/errors.h"
#include "common/base/status_macros.h"
#include "common/base/thread_pool.h"

namespace ilre {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kAskInterval{20};  // between two calls of should_stop where no token comes

double MsSince(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

absl::Status Overloaded(int max_waiting) {
  return MakeError(absl::StatusCode::kResourceExhausted, "OVERLOADED",
                   absl::StrCat("all places are taken and ", max_waiting, " requests are waiting already"));
}

absl::Status Draining() {
  return MakeError(absl::StatusCode::kUnavailable, "DRAINING", "the generator is shutting down");
}

absl::Status CacheLimit(int64_t tokens, int64_t bytes, int64_t max_bytes) {
  return MakeError(absl::StatusCode::kInvalidArgument, "CACHE_LIMIT",
                   absl::StrCat("prompt and answer of ", tokens, " tokens need a cache of ", bytes, " bytes; all have ",
                                max_bytes, " together: ask for fewer"));
}

absl::Status CancelledAnswer() { return errors::Cancelled("decoding the answer"); }

}  // namespace

absl::Status BatchOptions::Validate() const {
  const auto in_range = [](const char* name, int64_t value, int64_t least, int64_t most) {
    if (value >= least && value <= most) return absl::OkStatus();
    return errors::InvalidArgument(absl::StrCat(name, " is ", value, ", outside ", least, " to ", most));
  };
  ILRE_RETURN_IF_ERROR(in_range("max_running", max_running, 1, 1024));
  ILRE_RETURN_IF_ERROR(in_range("max_waiting", max_waiting, 0, 1 << 20));
  ILRE_RETURN_IF_ERROR(in_range("max_cache_bytes", max_cache_bytes, 1, int64_t{1} << 50));
  return in_range("prefill_tokens", prefill_tokens, 1, 1 << 20);
}

// One call of Generate. Shared by its caller and the decoding thread.
struct BatchGenerator::Request {
  Request(const Decoder& decoder, const Tokenizer& tokenizer, absl::Span<const TokenId> prompt,
          const GenerateOptions& options)
      : prompt(prompt.begin(), prompt.end()),
        cache_tokens(CacheTokensOf(decoder, prompt, options)),
        cache_bytes(decoder.CacheBytes(cache_tokens)),
        answer(tokenizer, prompt, options, cache_tokens) {}

  const Clock::time_point start = Clock::now();
  const std::vector<TokenId> prompt;
  const int64_t cache_tokens, cache_bytes;
  std::atomic<bool> cancelled{false};

  // Of the decoding thread, until `done`:
  AnswerStream answer;
  std::unique_ptr<KvCache> cache;
  size_t num_prefilled = 0;       // tokens of the prompt that are in the cache
  TokenId token = 0;              // to be run next, behind the prompt
  absl::Span<const TokenId> ids;  // that take part in this step
  std::vector<float> logits;
  double prefill_ms = 0, first_token_ms = 0, total_ms = 0;
  std::string new_text;  // of this step
  bool ended = false;
  absl::Status outcome;

  // Guarded by mutex_:
  std::string text;       // that the caller has not taken yet
  uint64_t progress = 0;  // steps in which it took part; its caller is woken for each
  bool done = false;      // and left; all above belongs to the caller now
  std::condition_variable changed;

  bool prefilling() const { return num_prefilled < prompt.size(); }
  void End(absl::Status status) {
    outcome = std::move(status);
    ended = true;
    total_ms = MsSince(start);
    cache.reset();
  }
  // The tokens of the next step, of a prompt at most `room`.
  absl::Span<const TokenId> NextIds(int64_t room) const {
    if (!prefilling()) return absl::MakeConstSpan(&token, 1);
    return absl::MakeConstSpan(prompt).subspan(num_prefilled, static_cast<size_t>(room));
  }
  // The step is to give logits.
  bool WantsLogits() const { return !prefilling() || num_prefilled + ids.size() == prompt.size(); }
};

BatchGenerator::BatchGenerator(const Decoder& decoder, const Tokenizer& tokenizer, const BatchOptions& options)
    : decoder_(decoder), tokenizer_(tokenizer), options_(options), thread_([this] { Run(); }) {}

BatchGenerator::~BatchGenerator() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    draining_ = stopping_ = true;
    for (const RequestPtr& request : running_) request->cancelled = true;  // ends the step that is running
  }
  work_.notify_all();
  thread_.join();
  std::unique_lock<std::mutex> lock(mutex_);
  idle_.wait(lock, [this] { return calls_ == 0; });
}

// ------------------------------------------------------------------------------------------------ callers

absl::StatusOr<Generation> BatchGenerator::Generate(absl::Span<const TokenId> prompt, const GenerateOptions& options,
                                                    const std::function<absl::Status(absl::string_view)>& emit) {
  ILRE_RETURN_IF_ERROR(CheckGeneration(decoder_, prompt, options));
  const auto request = std::make_shared<Request>(decoder_, tokenizer_, prompt, options);
  ILRE_RETURN_IF_ERROR(Submit(request));
  return Follow(request.get(), options.should_stop, emit);
}

absl::Status BatchGenerator::Submit(const RequestPtr& request) {
  std::lock_guard<std::mutex> lock(mutex_);
  absl::Status refusal;
  if (draining_) {
    refusal = Draining();
  } else if (request->cache_bytes > options_.max_cache_bytes) {
    refusal = CacheLimit(request->cache_tokens, request->cache_bytes, options_.max_cache_bytes);
  } else {
    waiting_.push_back(request);
    AdmitLocked();
    if (static_cast<int64_t>(waiting_.size()) > options_.max_waiting) {
      waiting_.pop_back();
      refusal = Overloaded(options_.max_waiting);
    }
  }
  if (refusal.ok()) {
    ++calls_;
  } else {
    ++stats_.refused;
  }
  return refusal;
}

absl::StatusOr<Generation> BatchGenerator::Follow(Request* request, const std::function<bool()>& should_stop,
                                                  const std::function<absl::Status(absl::string_view)>& emit) {
  absl::Status given_up;
  std::unique_lock<std::mutex> lock(mutex_);
  uint64_t seen = 0;
  while (!request->done) {
    request->changed.wait_for(lock, kAskInterval, [&] { return request->done || request->progress != seen; });
    seen = request->progress;
    const std::string text = std::exchange(request->text, {});
    const bool done = request->done;
    if (!given_up.ok()) continue;  // only waits for the decoding thread to let go
    lock.unlock();
    if (!text.empty() && emit) given_up = emit(text);
    if (given_up.ok() && !done && should_stop && should_stop()) given_up = CancelledAnswer();
    lock.lock();
    if (!given_up.ok()) CancelLocked(request);
  }
  if (given_up.ok() && !request->text.empty() && emit) {
    lock.unlock();
    given_up = emit(request->text);
    lock.lock();
  }
  if (--calls_ == 0) idle_.notify_all();
  lock.unlock();
  ILRE_RETURN_IF_ERROR(given_up);
  ILRE_RETURN_IF_ERROR(request->outcome);
  Generation generation = request->answer.generation();
  generation.prefill_ms = request->prefill_ms;
  generation.first_token_ms = request->first_token_ms;
  generation.total_ms = request->total_ms;
  return generation;
}

void BatchGenerator::CancelLocked(Request* request) {
  request->cancelled = true;
  const auto found = std::find_if(waiting_.begin(), waiting_.end(),
                                  [&](const RequestPtr& waiting) { return waiting.get() == request; });
  if (found == waiting_.end()) return;  // the decoding thread will see it
  request->End(CancelledAnswer());
  EndLocked(request);
  waiting_.erase(found);
  AdmitLocked();  // it may have been too large for what is left
}

void BatchGenerator::Drain() {
  std::lock_guard<std::mutex> lock(mutex_);
  draining_ = true;
}

bool BatchGenerator::WaitIdle(absl::Duration timeout) {
  std::unique_lock<std::mutex> lock(mutex_);
  return idle_.wait_for(lock, absl::ToChronoNanoseconds(timeout), [this] { return calls_ == 0; });
}

BatchStats BatchGenerator::stats() const {
  std::lock_guard<std::mutex> lock(mutex_);
  BatchStats stats = stats_;
  stats.running = static_cast<int64_t>(running_.size());
  stats.waiting = static_cast<int64_t>(waiting_.size());
  return stats;
}

void BatchGenerator::AdmitLocked() {
  bool admitted = false;
  while (!waiting_.empty() && static_cast<int64_t>(running_.size()) < options_.max_running &&
         stats_.cache_bytes + waiting_.front()->cache_bytes <= options_.max_cache_bytes) {
    stats_.cache_bytes += waiting_.front()->cache_bytes;
    running_.push_back(std::move(waiting_.front()));
    waiting_.pop_front();
    admitted = true;
  }
  if (admitted) work_.notify_one();
}

void BatchGenerator::EndLocked(Request* request) {
  if (request->outcome.ok()) {
    ++stats_.finished;
  } else if (absl::IsCancelled(request->outcome)) {
    ++stats_.cancelled;
  } else {
    ++stats_.failed;
  }
  request->done = true;
  request->changed.notify_one();
}

// ------------------------------------------------------------------------------------------------ decoding thread

void BatchGenerator::Run() {
  std::unique_lock<std::mutex> lock(mutex_);
  for (;;) {
    work_.wait(lock, [this] { return stopping_ || !running_.empty(); });
    if (stopping_) break;
    const std::vector<RequestPtr> batch = running_;
    lock.unlock();
    BatchStats counts;
    Step(batch, &counts);
    lock.lock();
    PublishLocked(batch, counts);
    AdmitLocked();
  }
  CancelAllLocked();
}

// One token of each answer, and a chunk of prompts in the order in which they came.
void BatchGenerator::Step(const std::vector<RequestPtr>& batch, BatchStats* counts) const {
  std::vector<Request*> members;
  int64_t room = options_.prefill_tokens;
  for (const RequestPtr& request : batch) {
    if (request->cancelled) {
      request->End(CancelledAnswer());
      continue;
    }
    if (request->cache == nullptr) {
      absl::StatusOr<std::unique_ptr<KvCache>> cache = decoder_.NewCache(request->cache_tokens);
      if (!cache.ok()) {
        request->End(std::move(cache).status());
        continue;
      }
      request->cache = *std::move(cache);
    }
    request->ids = request->NextIds(room);
    if (request->ids.empty()) continue;  // a prompt whose turn comes later
    if (request->prefilling()) room -= static_cast<int64_t>(request->ids.size());
    members.push_back(request.get());
  }
  if (members.empty()) return;
  RunModel(members, counts);
  AdvanceAll(members, counts);
}

void BatchGenerator::RunModel(const std::vector<Request*>& members, BatchStats* counts) const {
  std::vector<Decoder::Sequence> sequences;
  for (Request* request : members) {
    const auto want = request->WantsLogits() ? Decoder::Logits::kLast : Decoder::Logits::kNone;
    sequences.push_back({request->ids, request->cache.get(), want, &request->logits});
  }
  ++counts->steps;
  const absl::Status together = decoder_.ForwardBatch(sequences, [&] {
    return std::any_of(members.begin(), members.end(), [](const Request* request) { return !request->cancelled; });
  });
  if (together.ok()) return;
  // Either all are cancelled, or what is wrong with one must not end the others.
  for (size_t i = 0; i < members.size(); ++i) {
    const absl::Status status =
        decoder_.ForwardBatch(absl::MakeConstSpan(sequences).subspan(i, 1), [&] { return !members[i]->cancelled; });
    if (!status.ok()) members[i]->End(members[i]->cancelled ? CancelledAnswer() : status);
  }
}

void BatchGenerator::AdvanceAll(const std::vector<Request*>& members, BatchStats* counts) const {
  std::vector<Request*> choosing;
  for (Request* request : members) {
    if (request->ended) continue;
    const bool wants_logits = request->WantsLogits();
    if (request->prefilling()) {
      request->num_prefilled += request->ids.size();
      counts->prompt_tokens += static_cast<int64_t>(request->ids.size());
      if (wants_logits) request->prefill_ms = MsSince(request->start);
    }
    if (!wants_logits) continue;
    if (request->cancelled) {
      ++counts->tokens_after_cancel;
      request->End(CancelledAnswer());
      continue;
    }
    choosing.push_back(request);
  }
  counts->decoded_tokens += static_cast<int64_t>(choosing.size());
  DefaultPool().ParallelFor(static_cast<int64_t>(choosing.size()), [&](int64_t i) {
    Request* const request = choosing[static_cast<size_t>(i)];
    const std::optional<TokenId> next = request->answer.Next(absl::MakeSpan(request->logits), &request->new_text);
    if (request->first_token_ms == 0) request->first_token_ms = MsSince(request->start);
    if (next.has_value()) {
      request->token = *next;
    } else {
      request->End(absl::OkStatus());
    }
  });
}

void BatchGenerator::PublishLocked(const std::vector<RequestPtr>& batch, const BatchStats& counts) {
  stats_.steps += counts.steps;
  stats_.prompt_tokens += counts.prompt_tokens;
  stats_.decoded_tokens += counts.decoded_tokens;
  stats_.tokens_after_cancel += counts.tokens_after_cancel;
  for (const RequestPtr& request : batch) {
    request->text.append(std::exchange(request->new_text, {}));
    ++request->progress;
    if (request->ended) {
      stats_.cache_bytes -= request->cache_bytes;
      EndLocked(request.get());
    } else {
      request->changed.notify_one();
    }
  }
  running_.erase(
      std::remove_if(running_.begin(), running_.end(), [](const RequestPtr& request) { return request->done; }),
      running_.end());
}

void BatchGenerator::CancelAllLocked() {
  for (const RequestPtr& request : running_) stats_.cache_bytes -= request->cache_bytes;
  waiting_.insert(waiting_.end(), running_.begin(), running_.end());
  running_.clear();
  for (const RequestPtr& request : waiting_) {
    request->End(CancelledAnswer());
    EndLocked(request.get());
  }
  waiting_.clear();
}

}  // namespace ilre
