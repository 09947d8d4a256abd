// What only shows when one reaches past the store into its database: unknown versions, damaged and misplaced records.
#include "common/store/rocksdb_key_store.h"

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "common/base/errors.h"
#include "common/base/test_matchers.h"
#include "common/store/plain_records.h"
#include "common/store/record_keys.h"
#include "common/store/rocksdb_database.h"
#include "common/store/test_documents.h"
#include "gtest/gtest.h"

namespace ilre {
namespace {

class RocksdbKeyStoreTest : public ::testing::Test {
 protected:
  void SetUp() override {
    Open();
    for (const char* name : {"a", "b"}) {
      ILRE_ASSERT_OK_AND_ASSIGN(DocumentRow row, store_->CreateDocument(NewRow("c", name)));
      const OwnedBlock full = RandomBlock(&random_, kBlockTokens, {kBf16Head64});
      const OwnedBlock partial = RandomBlock(&random_, 9, {kBf16Head64});
      ILRE_ASSERT_OK_AND_ASSIGN(row, store_->Apply(MakeCommit(row, {&full, &full, &partial}, 0, 0, "state")));
      rows_.push_back(row);
    }
  }
  void Open() {
    store_.reset();
    ILRE_ASSERT_OK_AND_ASSIGN(store_, OpenKeyStore(folder_.path(), KeyStoreOptions()));
  }
  // Closes the store and changes records behind its back.
  void Tamper(const std::function<void(const RocksdbDatabase&)>& change) {
    store_.reset();
    ILRE_ASSERT_OK_AND_ASSIGN(const auto database,
                              RocksdbDatabase::OpenForWriting(folder_.path(), KeyStoreOptions(), nullptr, nullptr));
    change(*database);
  }
  void Put(Family family, const std::string& key, const std::string& value) {
    Tamper([&](const RocksdbDatabase& database) {
      EXPECT_TRUE(database.db()->Put(rocksdb::WriteOptions(), database.family(family), key, value).ok());
    });
  }
  // Flips a bit of a stored value, and opens the store again.
  void Damage(Family family, const std::string& key) {
    Tamper([&](const RocksdbDatabase& database) {
      std::string value;
      ASSERT_TRUE(database.db()->Get(rocksdb::ReadOptions(), database.family(family), key, &value).ok());
      value[value.size() / 2] ^= 1;
      EXPECT_TRUE(database.db()->Put(rocksdb::WriteOptions(), database.family(family), key, value).ok());
    });
    Open();
  }
  absl::Status Visit(const DocumentRow& row) {
    return store_->VisitBlocks(row, 0, row.num_blocks, [](const BlockView&) { return absl::OkStatus(); });
  }

  TempFolder folder_;
  std::unique_ptr<KeyStore> store_;
  std::vector<DocumentRow> rows_;
  Random random_{1};
};

TEST_F(RocksdbKeyStoreTest, AnUnknownStoreVersionIsRefusedNamingBoth) {
  Put(Family::kMeta, StoreHeaderKey(), EncodeStoreHeader(StoreHeaderKey(), 7));
  for (const absl::Status& status : {OpenKeyStore(folder_.path(), KeyStoreOptions()).status(),
                                     OpenKeyStoreFollower(folder_.path(), KeyStoreOptions()).status()}) {
    EXPECT_EQ(ErrorReason(status), "FORMAT_UNKNOWN");
    EXPECT_THAT(status, StatusIs(absl::StatusCode::kFailedPrecondition, ::testing::HasSubstr("version 7")));
    EXPECT_TRUE(absl::StrContains(status.message(), "version 1")) << status;
  }
}

TEST_F(RocksdbKeyStoreTest, ALaterVersionWithAnotherFamilyIsRefusedNamingBoth) {
  Tamper([](const RocksdbDatabase& database) {
    const std::string key = StoreHeaderKey(), header = EncodeStoreHeader(key, 7);
    ASSERT_TRUE(database.db()->Put(rocksdb::WriteOptions(), database.family(Family::kMeta), key, header).ok());
    rocksdb::ColumnFamilyHandle* handle = nullptr;
    ASSERT_TRUE(database.db()->CreateColumnFamily(rocksdb::ColumnFamilyOptions(), "new", &handle).ok());
    database.db()->DestroyColumnFamilyHandle(handle);
  });
  const absl::Status status = OpenKeyStore(folder_.path(), KeyStoreOptions()).status();
  EXPECT_EQ(ErrorReason(status), "FORMAT_UNKNOWN");
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kFailedPrecondition, ::testing::HasSubstr("version 7")));
}

TEST_F(RocksdbKeyStoreTest, ADatabaseOfAnotherKindIsNotTouched) {
  const TempFolder other;
  rocksdb::Options options;
  options.create_if_missing = true;
  rocksdb::DB* db = nullptr;
  ASSERT_TRUE(rocksdb::DB::Open(options, other.path(), &db).ok());
  rocksdb::ColumnFamilyHandle* handle = nullptr;
  ASSERT_TRUE(db->CreateColumnFamily(rocksdb::ColumnFamilyOptions(), "theirs", &handle).ok());
  db->DestroyColumnFamilyHandle(handle);
  delete db;
  const absl::Status status = OpenKeyStore(other.path(), KeyStoreOptions()).status();
  EXPECT_EQ(ErrorReason(status), "STORE_DAMAGED");
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kDataLoss, ::testing::HasSubstr("theirs")));
}

TEST_F(RocksdbKeyStoreTest, SwappedBlocksAreFound) {
  Tamper([&](const RocksdbDatabase& database) {
    rocksdb::ColumnFamilyHandle* blocks = database.family(Family::kBlocks);
    const std::string first = BlockKey(rows_[0].uid, 0), second = BlockKey(rows_[0].uid, 1);
    std::string a, b;
    ASSERT_TRUE(database.db()->Get(rocksdb::ReadOptions(), blocks, first, &a).ok());
    ASSERT_TRUE(database.db()->Get(rocksdb::ReadOptions(), blocks, second, &b).ok());
    ASSERT_TRUE(database.db()->Put(rocksdb::WriteOptions(), blocks, first, b).ok());
    ASSERT_TRUE(database.db()->Put(rocksdb::WriteOptions(), blocks, second, a).ok());
  });
  Open();
  const absl::Status status = Visit(rows_[0]);
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kDataLoss, ::testing::HasSubstr("c/a, block 0")));
  EXPECT_EQ(ErrorReason(status), "BLOCK_DAMAGED");
  ILRE_EXPECT_OK(Visit(rows_[1]));
}

TEST_F(RocksdbKeyStoreTest, MissingRecordsAreDamage) {
  Tamper([&](const RocksdbDatabase& database) {
    const uint64_t uid = rows_[0].uid;
    const rocksdb::WriteOptions write;
    ASSERT_TRUE(database.db()->Delete(write, database.family(Family::kBlocks), BlockKey(uid, 2)).ok());
    ASSERT_TRUE(database.db()->Delete(write, database.family(Family::kText), TextKey(uid, 1)).ok());
    ASSERT_TRUE(database.db()->Delete(write, database.family(Family::kLexical), LexicalKey(uid, 0)).ok());
    ASSERT_TRUE(database.db()->Delete(write, database.family(Family::kState), StateKey(uid)).ok());
  });
  Open();
  EXPECT_EQ(ErrorReason(Visit(rows_[0])), "BLOCK_DAMAGED");
  EXPECT_EQ(ErrorReason(store_->ReadText(rows_[0], 0, 3).status()), "TEXT_DAMAGED");
  ILRE_EXPECT_OK(store_->ReadText(rows_[0], 2, 3));
  EXPECT_EQ(
      ErrorReason(store_->VisitLexical(rows_[0], 0, 1, [](uint32_t, const LexicalData&) { return absl::OkStatus(); })),
      "LEXICAL_DAMAGED");
  EXPECT_EQ(ErrorReason(store_->ReadState(rows_[0]).status()), "STATE_DAMAGED");
}

TEST_F(RocksdbKeyStoreTest, DamagedTextPostingsAndStateAreNamed) {
  const uint64_t uid = rows_[0].uid;
  Damage(Family::kText, TextKey(uid, 1));
  EXPECT_THAT(store_->ReadText(rows_[0], 0, 3),
              StatusIs(absl::StatusCode::kDataLoss, ::testing::HasSubstr("c/a, text of block 1")));
  Damage(Family::kLexical, LexicalKey(uid, 2));
  EXPECT_THAT(store_->VisitLexical(rows_[0], 0, 3, [](uint32_t, const LexicalData&) { return absl::OkStatus(); }),
              StatusIs(absl::StatusCode::kDataLoss, ::testing::HasSubstr("c/a, postings of block 2")));
  Damage(Family::kState, StateKey(uid));
  EXPECT_THAT(store_->ReadState(rows_[0]), StatusIs(absl::StatusCode::kDataLoss, ::testing::HasSubstr("c/a")));
}

TEST_F(RocksdbKeyStoreTest, ADamagedRowIsSeenAndCanBeDeletedWithAllItsRecords) {
  Damage(Family::kMeta, DocumentRowKey("c", "a"));
  EXPECT_EQ(ErrorReason(store_->GetDocument("c", "a").status()), "ROW_DAMAGED");
  ILRE_ASSERT_OK_AND_ASSIGN(const KeyStoreReader::Page page, store_->ListDocuments("", 10, ""));
  ASSERT_EQ(page.rows.size(), 2);
  EXPECT_EQ(page.rows[0].state, DocumentState::kFailed);
  EXPECT_EQ(page.rows[1], rows_[1]);
  ILRE_ASSERT_OK(store_->DeleteDocument("c", "a"));
  ILRE_ASSERT_OK(store_->CreateDocument(NewRow("c", "a")));
  Tamper([&](const RocksdbDatabase& database) {
    const auto expect_gone = [&](Family family, const std::string& key) {
      std::string value;
      EXPECT_TRUE(database.db()->Get(rocksdb::ReadOptions(), database.family(family), key, &value).IsNotFound());
    };
    for (uint32_t block = 0; block < rows_[0].num_blocks; ++block) {
      for (const auto& [family, record_class] : kBlockwiseRecords) {
        expect_gone(family, BlockwiseKey(record_class, rows_[0].uid, block));
      }
    }
    expect_gone(Family::kState, StateKey(rows_[0].uid));
  });
}

TEST_F(RocksdbKeyStoreTest, ADamagedCounterStopsCreationAlone) {
  Damage(Family::kMeta, NextUidKey());
  EXPECT_EQ(ErrorReason(store_->CreateDocument(NewRow("c", "new")).status()), "STORE_DAMAGED");
  ILRE_EXPECT_OK(Visit(rows_[0]));
  ILRE_EXPECT_OK(store_->UpdateRow(rows_[0]));
  ILRE_EXPECT_OK(store_->DeleteDocument("c", "b"));
}

}  // namespace
}  // namespace ilre
