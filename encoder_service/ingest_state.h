// What an interrupted ingest goes on from: everything received and acknowledged that is not in a stored block yet, and
// the model's stream after the last whole block.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/model/decoder.h"
#include "common/model/model_config.h"
#include "common/model/tokenizer.h"
#include "common/retrieval/segmenter.h"

namespace ilre {

struct IngestState {
  uint32_t num_blocks = 0;     // whole blocks before this state
  uint64_t block_bytes = 0;    // bytes of text in them
  uint64_t text_checksum = 0;  // over their texts, chained
  Segmenter::State segmenter;  // after them
  // Text after those blocks. Its beginning is tokenized: pending_ids[i] ends at pending_ends[i] of pending_text.
  std::string pending_text;
  std::vector<TokenId> pending_ids;
  std::vector<uint32_t> pending_ends;
  StreamState stream;

  uint64_t received_bytes() const { return block_bytes + pending_text.size(); }
  uint32_t tokenized_bytes() const { return pending_ends.empty() ? 0 : pending_ends.back(); }
};

// The stored form, which docs/formats.md describes; the key store adds a checksum. The sinks are not stored: they are
// those of `document_start`, the stream that every document begins with.
std::string EncodeIngestState(const IngestState& state);

// Errors: DATA_LOSS with reason STATE_DAMAGED for whatever an ingest with this model could not have left: a state that
// parses is safe to go on from. `document_start` gives the sinks, the window and the number of layers.
absl::StatusOr<IngestState> ParseIngestState(absl::string_view bytes, const ModelConfig& model,
                                             const StreamState& document_start);

}  // namespace ilre
