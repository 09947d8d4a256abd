// The Generator service without its transport: asks for the spans, builds the prompt, generates, converts.
#pragma once

#include <functional>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "common/base/call_context.h"
#include "common/model/chat_template.h"
#include "common/model/tokenizer.h"
#include "generator_service/batch_generator.h"
#include "generator_service/retrieval_source.h"
#include "ilre/v1/generator.pb.h"

namespace ilre {

// Thread-safe. Everything given must outlive it.
class GeneratorHandler {
 public:
  using Write = std::function<absl::Status(const v1::GenerateResponse&)>;

  GeneratorHandler(RetrievalSource& retrieval, BatchGenerator& generator, const Tokenizer& tokenizer, ChatTemplate chat)
      : retrieval_(retrieval), generator_(generator), tokenizer_(tokenizer), chat_(std::move(chat)) {}

  // Calls `write`, on the calling thread, for each event; an error of it ends the call with it. Blocks. Errors: see
  // protos/ilre/v1/generator.proto.
  absl::Status Generate(const CallContext& context, const v1::GenerateRequest& request, const Write& write);

 private:
  // The retriever may be another process, with another model by mistake.
  absl::Status CheckIds(const std::vector<std::vector<TokenId>>& spans) const;

  RetrievalSource& retrieval_;
  BatchGenerator& generator_;
  const Tokenizer& tokenizer_;
  const ChatTemplate chat_;
};

}  // namespace ilre
