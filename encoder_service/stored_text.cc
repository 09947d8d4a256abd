#include "encoder_service/stored_text.h"

#include <algorithm>
#include <utility>

#include "common/base/errors.h"
#include "common/base/status_macros.h"
#include "encoder_service/ingest_state.h"

namespace ilre {
namespace {

constexpr uint32_t kBlocksAtOnce = 64;

}  // namespace

absl::Status StoredText::Load() {
  if (!is_state_read_ && row_.state == DocumentState::kIngesting) {
    is_state_read_ = true;
    ILRE_ASSIGN_OR_RETURN(const std::string bytes, store_.ReadState(row_));
    ILRE_ASSIGN_OR_RETURN(IngestState state,
                          ParseIngestState(bytes, model_.decoder().config(), model_.document_start()));
    num_blocks_ = std::min(num_blocks_, state.num_blocks);
    pending_ = std::move(state.pending_text);
  }
  if (next_block_ < num_blocks_) {
    const uint32_t end = std::min(num_blocks_, next_block_ + kBlocksAtOnce);
    ILRE_ASSIGN_OR_RETURN(loaded_, store_.ReadText(row_, next_block_, end));
    next_block_ = end;
    return absl::OkStatus();
  }
  loaded_ = std::exchange(pending_, {});
  if (!loaded_.empty()) return absl::OkStatus();
  return MakeError(absl::StatusCode::kDataLoss, "TEXT_DAMAGED", "the stored text is shorter than its document says");
}

absl::Status StoredText::SkipTo(uint64_t offset) {
  while (position_ < offset) {
    if (loaded_.empty()) ILRE_RETURN_IF_ERROR(Load());
    const size_t n = static_cast<size_t>(std::min<uint64_t>(offset - position_, loaded_.size()));
    loaded_.erase(0, n);
    position_ += n;
  }
  return absl::OkStatus();
}

absl::StatusOr<bool> StoredText::GoesOnWith(absl::string_view bytes, size_t* matched) {
  *matched = 0;
  while (!bytes.empty() && !at_end()) {
    if (loaded_.empty()) {
      ILRE_RETURN_IF_ERROR(Load());
      continue;
    }
    const size_t n = std::min(bytes.size(), loaded_.size());
    if (bytes.substr(0, n) != absl::string_view(loaded_).substr(0, n)) return false;
    bytes.remove_prefix(n);
    loaded_.erase(0, n);
    position_ += n;
    *matched += n;
  }
  return true;
}

}  // namespace ilre
