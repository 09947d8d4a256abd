#include "common/store/commit_check.h"

#include "absl/strings/str_cat.h"
#include "common/base/errors.h"
#include "common/base/status_macros.h"

namespace ilre {
namespace {

absl::Status Invalid(const DocumentRow& row, absl::string_view what) {
  return MakeError(absl::StatusCode::kInvalidArgument, "INVALID_COMMIT",
                   absl::StrCat("commit to document ", row.collection, "/", row.document, ": ", what));
}

// `tokens` is what the row leaves for this block; `text_begin` where the block before ends.
absl::Status CheckBlock(const DocumentRow& row, const Commit::Block& block, uint64_t tokens, uint64_t text_begin) {
  const BlockData& data = block.data;
  if (data.document_uid != row.uid) return Invalid(row, "a block of another document");
  if (data.ids.size() != tokens || data.ends.size() != tokens) {
    return Invalid(row, absl::StrCat("block ", data.block, " has ", data.ids.size(), " tokens and not ", tokens));
  }
  if (block.text.size() != data.ends.back()) {
    return Invalid(row, absl::StrCat("block ", data.block, " has ", block.text.size(), " bytes of text and offsets to ",
                                     data.ends.back()));
  }
  if (data.text_begin != text_begin) {
    return Invalid(row, absl::StrCat("the text of block ", data.block, " begins at ", data.text_begin, " and not at ",
                                     text_begin));
  }
  if (data.fingerprint != CombinedFingerprint(row.model, row.tokenizer, row.profile)) {
    return Invalid(row, "a block of another model, tokenizer or profile");
  }
  return block.lexical == nullptr ? absl::OkStatus() : ValidateLexical(*block.lexical);
}

}  // namespace

absl::Status CheckCommit(const Commit& commit) {
  const DocumentRow& row = commit.row;
  ILRE_RETURN_IF_ERROR(ValidateDocumentRow(row));
  if (commit.blocks.empty()) return absl::OkStatus();
  const BlockData& first = commit.blocks.front().data;
  if (uint64_t{first.block} + commit.blocks.size() != row.num_blocks) {
    return Invalid(row, absl::StrCat(commit.blocks.size(), " blocks from ", first.block, " on, and ", row.num_blocks,
                                     " in the row"));
  }
  uint64_t text_begin = first.text_begin;
  if (first.block == 0 && text_begin != 0) return Invalid(row, "a first block that does not begin at 0");
  for (size_t i = 0; i < commit.blocks.size(); ++i) {
    const Commit::Block& block = commit.blocks[i];
    if (block.data.block != first.block + i) return Invalid(row, "blocks out of order");
    if ((block.lexical == nullptr) != (commit.blocks.front().lexical == nullptr)) {
      return Invalid(row, "postings for some of its blocks");
    }
    const bool is_last = i + 1 == commit.blocks.size();
    const uint64_t tokens = is_last ? row.num_tokens - uint64_t{row.num_blocks - 1} * kBlockTokens : kBlockTokens;
    ILRE_RETURN_IF_ERROR(CheckBlock(row, block, tokens, text_begin));
    text_begin += block.text.size();
  }
  return absl::OkStatus();
}

absl::Status CheckContinues(const Commit& commit, const DocumentRow& stored) {
  const DocumentRow& row = commit.row;
  if (commit.blocks.empty()) {
    if (row.num_blocks == stored.num_blocks && row.num_tokens == stored.num_tokens) return absl::OkStatus();
    return Invalid(row, "another number of blocks or tokens than stored, and no blocks");
  }
  if (stored.num_blocks > 0 && stored.has_postings != (commit.blocks.front().lexical != nullptr)) {
    return Invalid(row, stored.has_postings ? "blocks without postings, unlike those before"
                                            : "blocks with postings, unlike those before");
  }
  const uint32_t begin = commit.blocks.front().data.block;
  const bool partial = stored.num_tokens % kBlockTokens != 0;
  if (begin == (partial ? stored.num_blocks - 1 : stored.num_blocks)) return absl::OkStatus();
  return Invalid(row, absl::StrCat("it begins with block ", begin, "; stored are ", stored.num_blocks, " of ",
                                   stored.num_tokens, " tokens"));
}

absl::Status CheckRevision(const DocumentRow& row, const DocumentRow& stored) {
  if (row.uid == stored.uid && row.revision == stored.revision) return absl::OkStatus();
  const std::string name = absl::StrCat(row.collection, "/", row.document);
  return MakeError(absl::StatusCode::kAborted, "DOCUMENT_CHANGED",
                   row.uid == stored.uid ? absl::StrCat("document ", name, " is at revision ", stored.revision,
                                                        " and no longer at ", row.revision)
                                         : absl::StrCat("document ", name, " was deleted and created anew"));
}

}  // namespace ilre
