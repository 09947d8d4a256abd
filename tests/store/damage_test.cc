// Bytes that go bad on the disk: the answer is the right one or an error, never another; and damage to one document
// stays with it.
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/errors.h"
#include "common/base/random.h"
#include "common/base/test_matchers.h"
#include "common/store/key_store.h"
#include "gtest/gtest.h"
#include "tests/store/known_documents.h"

namespace ilre {
namespace {

std::string Content(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(in), {});
}

void Flip(const std::string& path, uint64_t at, int bit) {
  std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
  file.seekg(static_cast<std::streamoff>(at));
  const char byte = static_cast<char>(file.get() ^ 1 << bit);
  file.seekp(static_cast<std::streamoff>(at));
  file.put(byte);
}

class DamageTest : public ::testing::Test {
 protected:
  void SetUp() override {
    Open();
    for (const char* name : {"a", "b", "c"}) {
      ILRE_ASSERT_OK_AND_ASSIGN(DocumentRow row, store_->CreateDocument(NewRow(kKnownCollection, name)));
      ILRE_ASSERT_OK_AND_ASSIGN(row, AppendKnownBlocks(store_.get(), row, 12));
      rows_.push_back(row);
    }
    Open();  // puts everything into tables
    store_.reset();
  }
  void Open(bool verify = false) {
    store_.reset();
    ILRE_ASSERT_OK_AND_ASSIGN(store_, OpenKeyStore(folder_.path(), {.verify_on_open = verify}));
  }
  absl::StatusOr<DocumentRow> Get(const std::string& name) { return store_->GetDocument(kKnownCollection, name); }

  // The store's files that hold data.
  std::vector<std::string> Files() const {
    std::vector<std::string> files;
    for (const auto& entry : std::filesystem::directory_iterator(folder_.path())) {
      const std::string name = entry.path().filename().string();
      if (absl::EndsWith(name, ".sst") || absl::StartsWith(name, "MANIFEST") || name == "CURRENT") {
        files.push_back(entry.path().string());
      }
    }
    return files;
  }
  // Flips a bit of some vector of block `block` of document `name`; the store must be closed.
  void DamageBlock(const std::string& name, uint32_t block) {
    std::string vectors;
    Open();
    ILRE_ASSERT_OK_AND_ASSIGN(const DocumentRow row, Get(name));
    ILRE_ASSERT_OK(store_->VisitBlocks(row, block, block + 1, [&](const BlockView& view) {
      vectors = std::string(view.vectors(0));
      return absl::OkStatus();
    }));
    store_.reset();
    int num_flipped = 0;
    for (const std::string& file : Files()) {
      const size_t at = Content(file).find(vectors);
      if (at == std::string::npos) continue;
      Flip(file, at + 100, 3);
      ++num_flipped;
    }
    ASSERT_EQ(num_flipped, 1);
  }

  TempFolder folder_;
  std::unique_ptr<KeyStore> store_;
  std::vector<DocumentRow> rows_;
};

TEST_F(DamageTest, ABlockIsNamedAndTheOthersServeOn) {
  DamageBlock("b", 7);
  Open();
  const absl::Status status = store_->VisitBlocks(rows_[1], 0, 12, [](const BlockView&) { return absl::OkStatus(); });
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kDataLoss, ::testing::HasSubstr("known/b, block 7")));
  EXPECT_EQ(ErrorReason(status), "BLOCK_DAMAGED");
  EXPECT_EQ(KnownDifference(*store_, rows_[0]), "");
  EXPECT_EQ(KnownDifference(*store_, rows_[2]), "");
  ILRE_EXPECT_OK(store_->VisitBlocks(rows_[1], 8, 12, [](const BlockView&) { return absl::OkStatus(); }));
}

TEST_F(DamageTest, WritingCompactionAndDeletionGoOn) {
  DamageBlock("b", 7);
  Open();
  ILRE_ASSERT_OK(AppendKnownBlocks(store_.get(), rows_[0], 300));
  ILRE_ASSERT_OK(store_->DeleteDocument(kKnownCollection, "c"));
  ILRE_ASSERT_OK(store_->CompactDeleted());
  ILRE_ASSERT_OK(store_->DeleteDocument(kKnownCollection, "b"));
  ILRE_ASSERT_OK(store_->CompactDeleted());
  ILRE_ASSERT_OK_AND_ASSIGN(const DocumentRow a, Get("a"));
  EXPECT_EQ(KnownDifference(*store_, a), "");
}

TEST_F(DamageTest, VerificationMarksTheDocumentFailed) {
  DamageBlock("b", 7);
  Open(/*verify=*/true);
  ILRE_ASSERT_OK_AND_ASSIGN(const DocumentRow b, Get("b"));
  EXPECT_EQ(b.state, DocumentState::kFailed);
  EXPECT_THAT(b.failure, ::testing::HasSubstr("block 7"));
  for (const char* name : {"a", "c"}) {
    ILRE_ASSERT_OK_AND_ASSIGN(const DocumentRow row, Get(name));
    EXPECT_EQ(KnownDifference(*store_, row), "");
  }
}

// 400 single flipped bits, anywhere in the store's files.
TEST_F(DamageTest, AnyFlippedBitGivesTheRightAnswerOrAnError) {
  Random random(1);
  const std::vector<std::string> files = Files();
  int num_refused = 0, num_damaged = 0, num_unharmed = 0;
  for (int round = 0; round < 400; ++round) {
    const TempFolder copy;
    std::filesystem::copy(folder_.path(), copy.path(), std::filesystem::copy_options::recursive);
    const std::string name = std::filesystem::path(random.Pick(files)).filename().string();
    const std::string file = copy.path() + "/" + name;
    const uint64_t at = random.Below(std::filesystem::file_size(file));
    Flip(file, at, static_cast<int>(random.Below(8)));
    const std::string what = absl::StrCat(name, " byte ", at);
    const absl::StatusOr<std::unique_ptr<KeyStore>> store = OpenKeyStore(copy.path(), KeyStoreOptions());
    if (!store.ok()) {
      EXPECT_THAT(store, StatusIs(absl::StatusCode::kDataLoss)) << what;
      ++num_refused;
      continue;
    }
    bool harmed = false;
    for (const DocumentRow& row : rows_) {
      const absl::StatusOr<DocumentRow> stored = (*store)->GetDocument(row.collection, row.document);
      const std::string difference = stored.ok() ? KnownDifference(**store, *stored) : stored.status().ToString();
      EXPECT_EQ(stored.value_or(row), row) << what;
      EXPECT_TRUE(difference.empty() || absl::StrContains(difference, "DATA_LOSS")) << what << ": " << difference;
      harmed |= !difference.empty();
    }
    ++(harmed ? num_damaged : num_unharmed);
  }
  EXPECT_GT(num_refused, 20);
  EXPECT_GT(num_damaged, 50);
  EXPECT_GT(num_unharmed, 0);
}

}  // namespace
}  // namespace ilre
