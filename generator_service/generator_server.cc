#include "generator_service/generator_server.h"

#include <utility>

#include "common/base/status_macros.h"

namespace ilre {
namespace {

// A request holds a thread while it recalls and while it is decoded: more threads than answers, so that spans are
// recalled for the next requests meanwhile.
int NumThreads(const GeneratorServerOptions& options) { return options.max_running + 4; }

BatchOptions BatchOptionsOf(const GeneratorServerOptions& options) {
  BatchOptions batch;
  batch.max_running = options.max_running;
  batch.max_waiting = NumThreads(options);  // no more requests than threads come here
  return batch;
}

}  // namespace

absl::Status GeneratorServerOptions::Validate() const {
  ILRE_RETURN_IF_ERROR(BatchOptionsOf(*this).Validate());
  return (ExecutorOptions{.num_threads = NumThreads(*this), .max_waiting = max_waiting}).Validate();
}

absl::StatusOr<std::unique_ptr<GeneratorServer>> GeneratorServer::Create(RetrievalSource& retrieval,
                                                                         const Decoder& decoder,
                                                                         const Tokenizer& tokenizer,
                                                                         const GeneratorServerOptions& options,
                                                                         const ServerParts& parts) {
  ILRE_ASSIGN_OR_RETURN(ChatTemplate chat, MakeChatTemplate(tokenizer));
  return std::unique_ptr<GeneratorServer>(
      new GeneratorServer(retrieval, decoder, tokenizer, std::move(chat), options, parts));
}

GeneratorServer::GeneratorServer(RetrievalSource& retrieval, const Decoder& decoder, const Tokenizer& tokenizer,
                                 ChatTemplate chat, const GeneratorServerOptions& options, const ServerParts& parts)
    : generator_(decoder, tokenizer, BatchOptionsOf(options)),
      handler_(retrieval, generator_, tokenizer, std::move(chat)),
      executor_({.num_threads = NumThreads(options), .max_waiting = options.max_waiting}),
      service_(handler_, executor_, parts) {
  sources_.push_back(parts.metrics.WatchExecutor("generator", executor_));
  sources_.push_back(
      parts.metrics.Watch(ServiceMetrics::Kind::kCounter, "ilre_tokens_after_cancel_total",
                          "Tokens that the model ran for answers that were cancelled meanwhile.", {},
                          [this] { return static_cast<double>(generator_.stats().tokens_after_cancel); }));
  sources_.push_back(parts.metrics.Watch(ServiceMetrics::Kind::kCounter, "ilre_model_steps_total",
                                         "Calls of the whole model, for one token of each running answer.", {},
                                         [this] { return static_cast<double>(generator_.stats().steps); }));
}

}  // namespace ilre
