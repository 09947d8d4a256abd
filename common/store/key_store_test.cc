#include "common/store/key_store.h"

#include <string>
#include <vector>

#include "common/base/errors.h"
#include "common/base/test_matchers.h"
#include "common/store/test_documents.h"
#include "gtest/gtest.h"

namespace ilre {
namespace {

class KeyStoreTest : public ::testing::Test {
 protected:
  void SetUp() override { Open(); }
  void Open() {
    store_.reset();
    ILRE_ASSERT_OK_AND_ASSIGN(store_, OpenKeyStore(folder_.path(), KeyStoreOptions()));
  }

  // Commits `num_blocks` full blocks and one of `rest` tokens (if that is not 0), and says what was written.
  std::vector<OwnedBlock> Fill(DocumentRow* row, int num_blocks, int rest, bool with_lexical = true) {
    std::vector<OwnedBlock> blocks;
    for (int b = 0; b < num_blocks; ++b) blocks.push_back(RandomBlock(&random_, kBlockTokens, {kBf16Head64}));
    if (rest > 0) blocks.push_back(RandomBlock(&random_, rest, {kBf16Head64}));
    std::vector<const OwnedBlock*> pointers;
    for (const OwnedBlock& block : blocks) pointers.push_back(&block);
    absl::StatusOr<DocumentRow> applied =
        store_->Apply(MakeCommit(*row, pointers, 0, 0, "state of " + row->document, with_lexical));
    ILRE_EXPECT_OK(applied);
    if (applied.ok()) *row = *applied;
    return blocks;
  }

  TempFolder folder_;
  std::unique_ptr<KeyStore> store_;
  Random random_{1};
};

TEST_F(KeyStoreTest, WhatIsCommittedIsRead) {
  ILRE_ASSERT_OK_AND_ASSIGN(DocumentRow row, store_->CreateDocument(NewRow("c", "d")));
  EXPECT_EQ(row.state, DocumentState::kIngesting);
  const std::vector<OwnedBlock> blocks = Fill(&row, 3, 17);
  Open();
  ILRE_ASSERT_OK_AND_ASSIGN(const DocumentRow read, store_->GetDocument("c", "d"));
  EXPECT_EQ(read, row);
  EXPECT_EQ(read.num_tokens, 3 * 256 + 17);

  size_t visited = 0;
  uint64_t text_begin = 0;
  std::string text;
  const uint64_t fingerprint = CombinedFingerprint(row.model, row.tokenizer, row.profile);
  ILRE_ASSERT_OK(store_->VisitBlocks(read, 0, 100, [&](const BlockView& view) {
    const OwnedBlock& block = blocks[visited];
    EXPECT_TRUE(SameBlock(view, block.View(row.uid, static_cast<uint32_t>(visited), fingerprint, text_begin)));
    text_begin += block.text.size();
    text += block.text;
    ++visited;
    return absl::OkStatus();
  }));
  EXPECT_EQ(visited, 4);
  ILRE_ASSERT_OK_AND_ASSIGN(const std::string stored_text, store_->ReadText(read, 0, 4));
  EXPECT_EQ(stored_text, text);
  ILRE_ASSERT_OK_AND_ASSIGN(const std::string state, store_->ReadState(read));
  EXPECT_EQ(state, "state of d");
  ILRE_ASSERT_OK(store_->VisitLexical(read, 1, 3, [&](uint32_t block, const LexicalData& data) {
    EXPECT_TRUE(data == blocks[block].lexical);
    return absl::OkStatus();
  }));
}

}  // namespace
}  // namespace ilre
