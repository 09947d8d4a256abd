// Compares what is offered under a name with what is stored there.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/retrieval/retrieval_model.h"
#include "common/store/key_store.h"

namespace ilre {

// Reads a document's acknowledged text from its beginning, a few blocks at a time. Not thread-safe; the store must
// outlive it.
class StoredText {
 public:
  StoredText(const KeyStoreReader& store, const RetrievalModel& model, DocumentRow row)
      : store_(store), model_(model), row_(std::move(row)), num_blocks_(row_.num_blocks) {}

  // Whether the stored text goes on with `bytes`: with all of them, or, where it ends sooner, with as many as it has.
  // `matched` receives how many bytes were compared.
  absl::StatusOr<bool> GoesOnWith(absl::string_view bytes, size_t* matched);

  // Goes on comparing at `offset`: not before position(), not behind the end.
  absl::Status SkipTo(uint64_t offset);

  uint64_t position() const { return position_; }
  bool at_end() const { return position_ == row_.committed_bytes; }

 private:
  absl::Status Load();

  const KeyStoreReader& store_;
  const RetrievalModel& model_;
  DocumentRow row_;
  uint32_t next_block_ = 0;
  // Of an unfinished document: how many blocks count, and what was received behind them. Its last stored block may be a
  // partial one from before it was appended to, whose text is pending once more.
  bool is_state_read_ = false;
  uint32_t num_blocks_;
  std::string pending_;
  uint64_t position_ = 0;
  std::string loaded_;  // text from position_ on
};

}  // namespace ilre
