#include "tests/store/known_documents.h"

#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/random.h"

namespace ilre {
namespace {

OwnedBlock KnownBlock(uint64_t uid, uint32_t block) {
  Random random(uid * 1'000'003 + block);
  return RandomBlock(&random, kBlockTokens, {{.dim = 4, .type = VectorType::kBf16}});
}

DocumentState KnownState(uint64_t revision) {
  return revision % 3 == 0 ? DocumentState::kReady : DocumentState::kIngesting;
}

std::string KnownIngestState(uint64_t uid, uint64_t revision) { return absl::StrCat("state of ", uid, "@", revision); }

}  // namespace

absl::StatusOr<DocumentRow> AppendKnownBlocks(KeyStore* store, const DocumentRow& row, uint32_t num_blocks) {
  std::vector<OwnedBlock> blocks;
  for (uint32_t b = 0; b < num_blocks; ++b) blocks.push_back(KnownBlock(row.uid, row.num_blocks + b));
  std::vector<const OwnedBlock*> pointers;
  for (const OwnedBlock& block : blocks) pointers.push_back(&block);
  const std::string ingest_state = KnownIngestState(row.uid, row.revision + 1);
  Commit commit = MakeCommit(row, pointers, row.num_blocks, row.committed_bytes, ingest_state);
  commit.row.state = KnownState(row.revision + 1);
  return store->Apply(commit);
}

std::string KnownDifference(const KeyStoreReader& store, const DocumentRow& row) {
  if (row.state != KnownState(row.revision)) return "another state";
  const uint64_t fingerprint = CombinedFingerprint(row.model, row.tokenizer, row.profile);
  uint64_t text_begin = 0;
  std::string wrong, text;
  absl::Status status = store.VisitBlocks(row, 0, row.num_blocks, [&](const BlockView& view) {
    const OwnedBlock block = KnownBlock(row.uid, view.block());
    if (!SameBlock(view, block.View(row.uid, view.block(), fingerprint, text_begin))) wrong = "another block";
    text_begin += block.text.size();
    text += block.text;
    return absl::OkStatus();
  });
  if (!status.ok()) return status.ToString();
  if (!wrong.empty()) return wrong;
  if (text_begin != row.committed_bytes) return "another number of bytes";
  status = store.VisitLexical(row, 0, row.num_blocks, [&](uint32_t block, const LexicalData& data) {
    if (!(data == KnownBlock(row.uid, block).lexical)) wrong = "other postings";
    return absl::OkStatus();
  });
  if (!status.ok()) return status.ToString();
  const absl::StatusOr<std::string> stored_text = store.ReadText(row, 0, row.num_blocks);
  if (!stored_text.ok() || *stored_text != text) return "another text: " + stored_text.status().ToString();
  const absl::StatusOr<std::string> state = store.ReadState(row);
  if (!state.ok()) return state.status().ToString();
  if (row.revision > 1 && *state != KnownIngestState(row.uid, row.revision)) return "another ingest state";
  return wrong;
}

}  // namespace ilre
