// Decodes an answer token by token, alone, on the calling thread. For many at once: batch_generator.h.
#pragma once

#include <functional>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "common/model/decoder.h"
#include "common/model/tokenizer.h"
#include "generator_service/answer_stream.h"

namespace ilre {

// Thread-safe. `decoder` must have all layers; both must outlive it.
class Generator {
 public:
  Generator(const Decoder& decoder, const Tokenizer& tokenizer) : decoder_(decoder), tokenizer_(tokenizer) {}

  // Streams text through `emit` (may be null) as it becomes certain: never half a character, nothing that may yet turn
  // out to be a stop string. An error from `emit` ends the call with it. Errors: those of CheckGeneration, CANCELLED.
  absl::StatusOr<Generation> Generate(absl::Span<const TokenId> prompt, const GenerateOptions& options,
                                      const std::function<absl::Status(absl::string_view)>& emit) const;

 private:
  const Decoder& decoder_;
  const Tokenizer& tokenizer_;
};

}  // namespace ilre
