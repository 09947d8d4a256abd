#include "tests/store/known_documents.h"

#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/random.h"
#include "common/base/status_macros.h"

namespace ilre {
namespace {

OwnedBlock KnownBlock(uint64_t uid, uint32_t block, int num_tokens) {
  Random random((uid * 1'000'003 + block) * 257 + static_cast<uint64_t>(num_tokens));
  return RandomBlock(&random, num_tokens, {{.dim = 4, .type = VectorType::kBf16}});
}

// Of block `block` of `row`.
int KnownTokens(const DocumentRow& row, uint32_t block) {
  return block + 1 < row.num_blocks ? kBlockTokens : static_cast<int>(row.num_tokens - uint64_t{block} * kBlockTokens);
}

bool IsReady(uint64_t revision) { return revision % 3 == 0; }
DocumentState KnownState(uint64_t revision) {
  return IsReady(revision) ? DocumentState::kReady : DocumentState::kIngesting;
}

std::string KnownIngestState(uint64_t uid, uint64_t revision) { return absl::StrCat("state of ", uid, "@", revision); }

}  // namespace

absl::StatusOr<DocumentRow> AppendKnownBlocks(KeyStore* store, const DocumentRow& row, uint32_t num_blocks) {
  const uint64_t revision = row.revision + 1;
  uint32_t first = row.num_blocks;
  uint64_t text_begin = row.committed_bytes;
  if (num_blocks > 0 && row.num_tokens % kBlockTokens != 0) {
    --first;
    text_begin -= KnownBlock(row.uid, first, KnownTokens(row, first)).text.size();
  }
  const uint32_t end = row.num_blocks + num_blocks;
  std::vector<OwnedBlock> blocks;
  for (uint32_t b = first; b < end; ++b) {
    const bool partial = b + 1 == end && IsReady(revision);
    blocks.push_back(
        KnownBlock(row.uid, b, partial ? static_cast<int>(1 + revision % (kBlockTokens - 1)) : kBlockTokens));
  }
  std::vector<const OwnedBlock*> pointers;
  for (const OwnedBlock& block : blocks) pointers.push_back(&block);
  const std::string ingest_state = KnownIngestState(row.uid, revision);
  Commit commit = MakeCommit(row, pointers, first, text_begin, ingest_state);
  if (blocks.empty()) commit.row = row;
  commit.row.state = KnownState(revision);
  return store->Apply(commit);
}

absl::Status CheckKnownBlocks(const KeyStoreReader& store, const DocumentRow& row) {
  const uint64_t fingerprint = CombinedFingerprint(row.model, row.tokenizer, row.profile);
  uint64_t text_begin = 0;
  ILRE_RETURN_IF_ERROR(store.VisitBlocks(row, 0, row.num_blocks, [&](const BlockView& view) {
    const OwnedBlock block = KnownBlock(row.uid, view.block(), KnownTokens(row, view.block()));
    if (!SameBlock(view, block.View(row.uid, view.block(), fingerprint, text_begin))) {
      return absl::DataLossError("another block");
    }
    text_begin += block.text.size();
    return absl::OkStatus();
  }));
  return text_begin == row.committed_bytes ? absl::OkStatus() : absl::DataLossError("another number of bytes");
}

absl::Status CheckKnownPostings(const KeyStoreReader& store, const DocumentRow& row) {
  return store.VisitLexical(row, 0, row.num_blocks, [&](uint32_t block, const LexicalData& data) {
    return data == KnownBlock(row.uid, block, KnownTokens(row, block)).lexical ? absl::OkStatus()
                                                                               : absl::DataLossError("other postings");
  });
}

std::string KnownDifference(const KeyStoreReader& store, const DocumentRow& row) {
  if (row.state != KnownState(row.revision)) return "another state";
  absl::Status status = CheckKnownBlocks(store, row);
  if (status.ok()) status = CheckKnownPostings(store, row);
  if (!status.ok()) return status.ToString();
  std::string text;
  for (uint32_t b = 0; b < row.num_blocks; ++b) text += KnownBlock(row.uid, b, KnownTokens(row, b)).text;
  const absl::StatusOr<std::string> stored_text = store.ReadText(row, 0, row.num_blocks);
  if (!stored_text.ok() || *stored_text != text) return "another text: " + stored_text.status().ToString();
  const absl::StatusOr<std::string> state = store.ReadState(row);
  if (!state.ok()) return state.status().ToString();
  if (row.revision > 1 && *state != KnownIngestState(row.uid, row.revision)) return "another ingest state";
  return "";
}

}  // namespace ilre
