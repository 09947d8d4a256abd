#include "common/store/key_store.h"

#include <string>
#include <vector>

#include "absl/time/clock.h"
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

TEST_F(KeyStoreTest, ARangeOfBlocksIsClipped) {
  ILRE_ASSERT_OK_AND_ASSIGN(DocumentRow row, store_->CreateDocument(NewRow("c", "d")));
  Fill(&row, 4, 0);
  std::vector<uint32_t> visited;
  const auto note = [&](const BlockView& view) {
    visited.push_back(view.block());
    return absl::OkStatus();
  };
  ILRE_ASSERT_OK(store_->VisitBlocks(row, 1, 3, note));
  ILRE_ASSERT_OK(store_->VisitBlocks(row, 3, UINT32_MAX, note));
  ILRE_ASSERT_OK(store_->VisitBlocks(row, 4, 5, note));
  ILRE_ASSERT_OK(store_->VisitBlocks(row, 3, 1, note));
  EXPECT_EQ(visited, (std::vector<uint32_t>{1, 2, 3}));
}

TEST_F(KeyStoreTest, AVisitorsErrorEndsTheVisit) {
  ILRE_ASSERT_OK_AND_ASSIGN(DocumentRow row, store_->CreateDocument(NewRow("c", "d")));
  Fill(&row, 3, 0);
  int visits = 0;
  const absl::Status status = store_->VisitBlocks(
      row, 0, 3, [&](const BlockView&) { return ++visits == 2 ? errors::Cancelled("the search") : absl::OkStatus(); });
  EXPECT_EQ(visits, 2);
  EXPECT_EQ(status, errors::Cancelled("the search"));
}

TEST_F(KeyStoreTest, AVisitorMayReadTheStore) {
  ILRE_ASSERT_OK_AND_ASSIGN(DocumentRow row, store_->CreateDocument(NewRow("c", "d")));
  Fill(&row, 2, 0);
  ILRE_EXPECT_OK(store_->VisitBlocks(row, 0, 2, [&](const BlockView& view) {
    return store_->ReadText(row, view.block(), view.block() + 1).status();
  }));
}

TEST_F(KeyStoreTest, NamesAreUniqueAndValid) {
  ILRE_ASSERT_OK(store_->CreateDocument(NewRow("c", "d")));
  EXPECT_EQ(ErrorReason(store_->CreateDocument(NewRow("c", "d")).status()), "DOCUMENT_EXISTS");
  EXPECT_EQ(ErrorReason(store_->CreateDocument(NewRow("c", "D")).status()), "INVALID_NAME");
  EXPECT_EQ(ErrorReason(store_->CreateDocument(NewRow("", "d")).status()), "INVALID_NAME");
  const absl::Status missing = store_->GetDocument("c", "e").status();
  EXPECT_THAT(missing, StatusIs(absl::StatusCode::kNotFound, ::testing::HasSubstr("c/e")));
  EXPECT_EQ(ErrorReason(missing), "DOCUMENT_NOT_FOUND");
  EXPECT_THAT(store_->GetDocument(std::string("c\0d", 3), "d"), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(store_->DeleteDocument("c", "e"), StatusIs(absl::StatusCode::kNotFound));
}

TEST_F(KeyStoreTest, UidsAreNeverGivenTwice) {
  ILRE_ASSERT_OK_AND_ASSIGN(const DocumentRow first, store_->CreateDocument(NewRow("c", "d")));
  ILRE_ASSERT_OK(store_->DeleteDocument("c", "d"));
  ILRE_ASSERT_OK(store_->CompactDeleted());
  Open();
  ILRE_ASSERT_OK_AND_ASSIGN(const DocumentRow second, store_->CreateDocument(NewRow("c", "d")));
  EXPECT_GT(second.uid, first.uid);
}

TEST_F(KeyStoreTest, ACommitToAnOldRevisionIsAborted) {
  ILRE_ASSERT_OK_AND_ASSIGN(const DocumentRow old, store_->CreateDocument(NewRow("c", "d")));
  DocumentRow row = old;
  Fill(&row, 1, 0);
  EXPECT_EQ(row.revision, old.revision + 1);
  const OwnedBlock block = RandomBlock(&random_, 5, {kBf16Head64});
  EXPECT_EQ(ErrorReason(store_->Apply(MakeCommit(old, {&block}, 0, 0, "")).status()), "DOCUMENT_CHANGED");
  EXPECT_THAT(store_->UpdateRow(old), StatusIs(absl::StatusCode::kAborted));
  ILRE_ASSERT_OK(store_->DeleteDocument("c", "d"));
  EXPECT_THAT(store_->UpdateRow(row), StatusIs(absl::StatusCode::kAborted));
  ILRE_ASSERT_OK(store_->CreateDocument(NewRow("c", "d")));
  EXPECT_THAT(store_->UpdateRow(old), StatusIs(absl::StatusCode::kAborted));
}

TEST_F(KeyStoreTest, APartialLastBlockIsReplacedByAppending) {
  ILRE_ASSERT_OK_AND_ASSIGN(DocumentRow row, store_->CreateDocument(NewRow("c", "d")));
  const std::vector<OwnedBlock> blocks = Fill(&row, 1, 10);
  const OwnedBlock fuller = RandomBlock(&random_, kBlockTokens, {kBf16Head64});
  const OwnedBlock rest = RandomBlock(&random_, 3, {kBf16Head64});
  const uint64_t text_begin = blocks[0].text.size();
  ILRE_ASSERT_OK_AND_ASSIGN(const DocumentRow longer,
                            store_->Apply(MakeCommit(row, {&fuller, &rest}, 1, text_begin, "s")));
  EXPECT_EQ(longer.num_blocks, 3);
  ILRE_ASSERT_OK_AND_ASSIGN(const std::string text, store_->ReadText(longer, 0, 3));
  EXPECT_EQ(text, blocks[0].text + fuller.text + rest.text);
  // Who still has the old row is told so, and not given a block of another size.
  const auto ignore = [](const BlockView&) { return absl::OkStatus(); };
  EXPECT_EQ(ErrorReason(store_->VisitBlocks(row, 0, 2, ignore)), "DOCUMENT_CHANGED");
  const auto ignore_postings = [](uint32_t block, const LexicalData&) {
    EXPECT_EQ(block, 0);
    return absl::OkStatus();
  };
  EXPECT_EQ(ErrorReason(store_->VisitLexical(row, 0, 2, ignore_postings)), "DOCUMENT_CHANGED");
  EXPECT_EQ(ErrorReason(store_->ReadText(row, 0, 2).status()), "DOCUMENT_CHANGED");
  ILRE_EXPECT_OK(store_->ReadText(row, 0, 1));
  ILRE_EXPECT_OK(store_->VisitBlocks(longer, 0, 3, ignore));
}

TEST_F(KeyStoreTest, CommitsThatDoNotFitAreRefusedWhole) {
  ILRE_ASSERT_OK_AND_ASSIGN(DocumentRow row, store_->CreateDocument(NewRow("c", "d")));
  const std::vector<OwnedBlock> blocks = Fill(&row, 2, 0);
  const uint64_t text_begin = blocks[0].text.size() + blocks[1].text.size();
  const OwnedBlock full = RandomBlock(&random_, kBlockTokens, {kBf16Head64});
  const OwnedBlock partial = RandomBlock(&random_, 7, {kBf16Head64});
  const auto expect_refused = [&](const Commit& commit) {
    const absl::Status status = store_->Apply(commit).status();
    EXPECT_THAT(status, StatusIs(absl::StatusCode::kInvalidArgument));
    EXPECT_EQ(ErrorReason(status), "INVALID_COMMIT");
  };
  expect_refused(MakeCommit(row, {&full}, 1, text_begin, ""));            // replaces a full block
  expect_refused(MakeCommit(row, {&full}, 3, text_begin, ""));            // leaves a gap
  expect_refused(MakeCommit(row, {&partial}, 2, text_begin, "", false));  // without postings, unlike the others
  Commit commit = MakeCommit(row, {&full, &partial}, 2, text_begin, "");
  commit.blocks[0].text.remove_suffix(1);
  expect_refused(commit);
  commit = MakeCommit(row, {&full, &partial}, 2, text_begin, "");
  commit.blocks[1].data.fingerprint ^= 1;
  expect_refused(commit);
  commit = MakeCommit(row, {&full, &partial}, 2, text_begin, "");
  commit.blocks[1].data.document_uid += 1;
  expect_refused(commit);
  commit = MakeCommit(row, {&full, &partial}, 2, text_begin, "");
  commit.blocks[1].data.text_begin += 1;
  expect_refused(commit);
  commit = MakeCommit(row, {&full, &partial}, 2, text_begin, "");
  commit.row.num_tokens -= 1;
  expect_refused(commit);
  commit = MakeCommit(row, {&full}, 2, text_begin, "");
  commit.blocks.clear();
  expect_refused(commit);
  ILRE_ASSERT_OK_AND_ASSIGN(const DocumentRow unchanged, store_->GetDocument("c", "d"));
  EXPECT_EQ(unchanged, row);
  ILRE_EXPECT_OK(store_->Apply(MakeCommit(row, {&full, &partial}, 2, text_begin, "")));
}

TEST_F(KeyStoreTest, PostingsAreOptionalPerDocument) {
  ILRE_ASSERT_OK_AND_ASSIGN(DocumentRow row, store_->CreateDocument(NewRow("c", "d")));
  const auto ignore = [](uint32_t, const LexicalData&) { return absl::OkStatus(); };
  ILRE_EXPECT_OK(store_->VisitLexical(row, 0, 1, ignore));
  Fill(&row, 1, 0, /*with_lexical=*/false);
  const absl::Status status = store_->VisitLexical(row, 0, 1, ignore);
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kFailedPrecondition, ::testing::HasSubstr("c/d")));
  EXPECT_EQ(ErrorReason(status), "NO_LEXICAL");
}

TEST_F(KeyStoreTest, ListsByNameInPages) {
  const std::vector<std::string> names = {"a/x", "a/y", "a-b/c", "b/a", "b/b"};
  for (const std::string& name : {names[3], names[1], names[4], names[0], names[2]}) {
    const size_t slash = name.find('/');
    ILRE_ASSERT_OK(store_->CreateDocument(NewRow(name.substr(0, slash), name.substr(slash + 1))));
  }
  for (int page_size = 1; page_size <= 6; ++page_size) {
    std::vector<std::string> listed;
    std::string next;
    do {
      ILRE_ASSERT_OK_AND_ASSIGN(const KeyStoreReader::Page page, store_->ListDocuments("", page_size, next));
      EXPECT_TRUE(next.empty() || !page.rows.empty());
      for (const DocumentRow& row : page.rows) listed.push_back(row.collection + "/" + row.document);
      next = page.next;
    } while (!next.empty());
    EXPECT_EQ(listed, names);
  }
  ILRE_ASSERT_OK_AND_ASSIGN(const KeyStoreReader::Page page, store_->ListDocuments("a", 10, "a/x"));
  ASSERT_EQ(page.rows.size(), 1);
  EXPECT_EQ(page.rows[0].document, "y");
  EXPECT_EQ(page.next, "");
  for (const char* bad : {"x", "/", "a/", "a/X", "b/a", "a/x/y"}) {
    EXPECT_EQ(ErrorReason(store_->ListDocuments("a", 10, bad).status()), "INVALID_PAGE_TOKEN") << bad;
  }
  EXPECT_THAT(store_->ListDocuments("a", 0, ""), StatusIs(absl::StatusCode::kInvalidArgument));
  ILRE_ASSERT_OK_AND_ASSIGN(const KeyStoreReader::Stats stats, store_->GetStats());
  EXPECT_EQ(stats.num_documents, 5);
}

TEST_F(KeyStoreTest, ADocumentBeingDeletedIsNotSeen) {
  ILRE_ASSERT_OK_AND_ASSIGN(DocumentRow row, store_->CreateDocument(NewRow("c", "d")));
  row.state = DocumentState::kDeleting;
  ILRE_ASSERT_OK(store_->UpdateRow(row));
  EXPECT_THAT(store_->GetDocument("c", "d"), StatusIs(absl::StatusCode::kNotFound));
  ILRE_ASSERT_OK_AND_ASSIGN(const KeyStoreReader::Page page, store_->ListDocuments("c", 10, ""));
  EXPECT_TRUE(page.rows.empty());
  ILRE_ASSERT_OK_AND_ASSIGN(const DocumentRow anew, store_->CreateDocument(NewRow("c", "d")));
  EXPECT_NE(anew.uid, row.uid);
}

TEST_F(KeyStoreTest, ReadingWhatWasDeletedSaysSo) {
  ILRE_ASSERT_OK_AND_ASSIGN(DocumentRow row, store_->CreateDocument(NewRow("c", "d")));
  Fill(&row, 2, 0);
  ILRE_ASSERT_OK(store_->DeleteDocument("c", "d"));
  const auto ignore = [](const BlockView&) { return absl::OkStatus(); };
  EXPECT_EQ(ErrorReason(store_->VisitBlocks(row, 0, 2, ignore)), "DOCUMENT_NOT_FOUND");
  ILRE_ASSERT_OK(store_->CreateDocument(NewRow("c", "d")));
  EXPECT_EQ(ErrorReason(store_->VisitBlocks(row, 0, 2, ignore)), "DOCUMENT_NOT_FOUND");
  EXPECT_EQ(ErrorReason(store_->ReadText(row, 0, 2).status()), "DOCUMENT_NOT_FOUND");
  EXPECT_EQ(ErrorReason(store_->ReadState(row).status()), "DOCUMENT_NOT_FOUND");
}

TEST_F(KeyStoreTest, CompactionGivesTheSpaceOfDeletedDocumentsBack) {
  ILRE_ASSERT_OK_AND_ASSIGN(DocumentRow kept, store_->CreateDocument(NewRow("c", "kept")));
  Fill(&kept, 20, 0);
  for (const char* name : {"a", "b"}) {
    ILRE_ASSERT_OK_AND_ASSIGN(DocumentRow row, store_->CreateDocument(NewRow("c", name)));
    Fill(&row, 200, 0);
  }
  ILRE_ASSERT_OK_AND_ASSIGN(const KeyStoreReader::Stats before, store_->GetStats());
  ILRE_ASSERT_OK(store_->DeleteDocument("c", "a"));
  ILRE_ASSERT_OK(store_->DeleteDocument("c", "b"));
  ILRE_ASSERT_OK(store_->CompactDeleted());
  // RocksDB deletes files in the background.
  KeyStoreReader::Stats after = before;
  for (int wait = 0; wait < 100 && after.disk_bytes >= before.disk_bytes / 4; ++wait) {
    absl::SleepFor(absl::Milliseconds(50));
    ILRE_ASSERT_OK_AND_ASSIGN(after, store_->GetStats());
  }
  EXPECT_GT(before.disk_bytes, 400 * 34'000);
  EXPECT_LT(after.disk_bytes, before.disk_bytes / 4);
  ILRE_EXPECT_OK(store_->VisitBlocks(kept, 0, 20, [](const BlockView&) { return absl::OkStatus(); }));
  ILRE_EXPECT_OK(store_->CompactDeleted());
}

TEST_F(KeyStoreTest, TheFolderIsNamedWhenItIsInUse) {
  const absl::Status status = OpenKeyStore(folder_.path(), KeyStoreOptions()).status();
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kFailedPrecondition, ::testing::HasSubstr(folder_.path())));
  EXPECT_EQ(ErrorReason(status), "DATA_DIRECTORY_IN_USE");
}

TEST(KeyStoreOpenTest, OptionsAreChecked) {
  TempFolder folder;
  EXPECT_THAT(OpenKeyStore(folder.path(), {.write_buffer_bytes = 1}), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(OpenKeyStore(folder.path(), {.block_cache_bytes = UINT64_MAX}),
              StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST(KeyStoreOpenTest, ThereMustBeAStoreToFollow) {
  TempFolder folder;
  const absl::Status status = OpenKeyStoreFollower(folder.path(), KeyStoreOptions()).status();
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kNotFound, ::testing::HasSubstr(folder.path())));
  EXPECT_EQ(ErrorReason(status), "NO_STORE");
}

TEST(KeyStoreOpenTest, AFolderThatCannotBeMadeIsAnError) {
  EXPECT_FALSE(OpenKeyStore("/proc/no/such/folder", KeyStoreOptions()).ok());
}

}  // namespace
}  // namespace ilre
