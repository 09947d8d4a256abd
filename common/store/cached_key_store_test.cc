#include "common/store/cached_key_store.h"

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/errors.h"
#include "common/base/test_matchers.h"
#include "common/store/test_documents.h"
#include "gtest/gtest.h"

namespace ilre {
namespace {

constexpr uint64_t kPlenty = 64 << 20;

class CachedKeyStoreTest : public ::testing::Test {
 protected:
  void SetUp() override { ILRE_ASSERT_OK_AND_ASSIGN(store_, OpenKeyStore(folder_.path(), KeyStoreOptions())); }

  // Appends blocks, of which the last has `rest` tokens if that is not 0, after `first` blocks.
  void Append(DocumentRow* row, int num_full, int rest, uint32_t first = 0, uint64_t text_begin = 0) {
    written_.resize(first);
    for (int b = 0; b < num_full; ++b)
      written_.push_back(RandomBlock(&random_, kBlockTokens, {kBf16Head64, kInt8Head32}));
    if (rest > 0) written_.push_back(RandomBlock(&random_, rest, {kBf16Head64, kInt8Head32}));
    std::vector<const OwnedBlock*> pointers;
    for (size_t b = first; b < written_.size(); ++b) pointers.push_back(&written_[b]);
    absl::StatusOr<DocumentRow> applied = store_->Apply(MakeCommit(*row, pointers, first, text_begin, "state"));
    ILRE_ASSERT_OK(applied);
    *row = *applied;
  }
  DocumentRow Create(const std::string& name, int num_full, int rest) {
    absl::StatusOr<DocumentRow> row = store_->CreateDocument(NewRow("c", name));
    ILRE_EXPECT_OK(row);
    Append(&*row, num_full, rest);
    return *row;
  }
  // Reads [begin, end) through `cache` and compares it with what was written.
  void ExpectWhole(const CachedKeyStore& cache, const DocumentRow& row, uint32_t begin, uint32_t end) {
    const uint64_t fingerprint = CombinedFingerprint(row.model, row.tokenizer, row.profile);
    uint64_t text_begin = 0;
    for (uint32_t b = 0; b < begin; ++b) text_begin += written_[b].text.size();
    uint32_t next = begin;
    ILRE_EXPECT_OK(cache.VisitBlocks(row, begin, end, [&](const BlockView& view) {
      EXPECT_EQ(view.block(), next);
      EXPECT_TRUE(SameBlock(view, written_[next].View(row.uid, next, fingerprint, text_begin))) << next;
      text_begin += written_[next++].text.size();
      return absl::OkStatus();
    }));
    EXPECT_EQ(next, end);
    next = begin;
    ILRE_EXPECT_OK(cache.VisitLexical(row, begin, end, [&](uint32_t block, const LexicalData& data) {
      EXPECT_EQ(block, next);
      EXPECT_TRUE(data == written_[next++].lexical);
      return absl::OkStatus();
    }));
    EXPECT_EQ(next, end);
  }

  TempFolder folder_;
  std::unique_ptr<KeyStore> store_;
  Random random_{4};
  std::vector<OwnedBlock> written_;  // of the document made last
};

TEST_F(CachedKeyStoreTest, GivesTheSameFromMemory) {
  const DocumentRow row = Create("d", 6, 0);
  const CachedKeyStore cache(store_.get(), kPlenty);
  ExpectWhole(cache, row, 0, 6);
  EXPECT_EQ(cache.cache_stats().misses, 12);
  EXPECT_EQ(cache.cache_stats().hits, 0);
  EXPECT_EQ(cache.cache_stats().records, 12);
  EXPECT_GT(cache.cache_stats().bytes, 6 * 34'000);
  ExpectWhole(cache, row, 0, 6);
  ExpectWhole(cache, row, 2, 5);
  EXPECT_EQ(cache.cache_stats().misses, 12);
  EXPECT_EQ(cache.cache_stats().hits, 18);
}

TEST_F(CachedKeyStoreTest, FetchesWhatIsMissingBetweenWhatIsKept) {
  const DocumentRow row = Create("d", 9, 0);
  const CachedKeyStore cache(store_.get(), kPlenty);
  ExpectWhole(cache, row, 1, 3);
  ExpectWhole(cache, row, 6, 7);
  ExpectWhole(cache, row, 0, 9);
  EXPECT_EQ(cache.cache_stats().misses, 2 * 9);
  EXPECT_EQ(cache.cache_stats().hits, 2 * 3);
}

TEST_F(CachedKeyStoreTest, APartialBlockIsNotKeptAndWhatReplacesItIsSeen) {
  DocumentRow row = Create("d", 2, 10);
  const DocumentRow old = row;
  const CachedKeyStore cache(store_.get(), kPlenty);
  ExpectWhole(cache, row, 0, 3);
  EXPECT_EQ(cache.cache_stats().records, 4);
  Append(&row, 2, 5, 2, written_[0].text.size() + written_[1].text.size());
  ExpectWhole(cache, row, 0, 5);
  const auto ignore = [](const BlockView&) { return absl::OkStatus(); };
  EXPECT_EQ(ErrorReason(cache.VisitBlocks(old, 0, 3, ignore)), "DOCUMENT_CHANGED");
  ILRE_EXPECT_OK(cache.VisitBlocks(old, 0, 2, ignore));
}

TEST_F(CachedKeyStoreTest, WhatWasDeletedIsNotThere) {
  const DocumentRow row = Create("d", 3, 0);
  const CachedKeyStore cache(store_.get(), kPlenty);
  ExpectWhole(cache, row, 0, 3);
  ILRE_ASSERT_OK(store_->DeleteDocument("c", "d"));
  const auto must_not_come = [](const BlockView&) {
    ADD_FAILURE();
    return absl::OkStatus();
  };
  EXPECT_EQ(ErrorReason(cache.VisitBlocks(row, 0, 3, must_not_come)), "DOCUMENT_NOT_FOUND");
  const DocumentRow again = Create("d", 3, 0);
  EXPECT_EQ(ErrorReason(cache.VisitBlocks(row, 0, 3, must_not_come)), "DOCUMENT_NOT_FOUND");
  ExpectWhole(cache, again, 0, 3);
}

TEST_F(CachedKeyStoreTest, AVisitorsErrorEndsTheVisit) {
  const DocumentRow row = Create("d", 4, 0);
  const CachedKeyStore cache(store_.get(), kPlenty);
  for (int round = 0; round < 2; ++round) {
    int visited = 0;
    const absl::Status status = cache.VisitBlocks(row, 0, 4, [&](const BlockView&) {
      return ++visited == 2 ? absl::CancelledError("enough") : absl::OkStatus();
    });
    EXPECT_TRUE(absl::IsCancelled(status));
    EXPECT_EQ(visited, 2);
  }
}

TEST_F(CachedKeyStoreTest, StaysWithinItsLimit) {
  constexpr uint64_t kLimit = 2 << 20;  // some 55 blocks with their postings
  const CachedKeyStore cache(store_.get(), kLimit);
  for (int d = 0; d < 8; ++d) {
    const DocumentRow row = Create(absl::StrCat("d", d), 12, 0);
    ExpectWhole(cache, row, 0, 12);
    EXPECT_LE(cache.cache_stats().bytes, kLimit);
  }
  EXPECT_GT(cache.cache_stats().bytes, kLimit / 2);
}

TEST_F(CachedKeyStoreTest, KeepsTheBeginningOfADocumentThatIsTooLong) {
  const DocumentRow row = Create("long", 80, 0);
  const CachedKeyStore cache(store_.get(), 1 << 20);
  ExpectWhole(cache, row, 0, 80);
  const uint64_t kept = cache.cache_stats().records;
  EXPECT_GT(kept, 8);
  for (int round = 0; round < 3; ++round) ExpectWhole(cache, row, 0, 80);
  EXPECT_GT(cache.cache_stats().hits, 3 * kept / 2);
}

TEST_F(CachedKeyStoreTest, WithoutRoomItStillReads) {
  const DocumentRow row = Create("d", 3, 7);
  const CachedKeyStore cache(store_.get(), 0);
  ExpectWhole(cache, row, 0, 4);
  EXPECT_EQ(cache.cache_stats().records, 0);
}

TEST_F(CachedKeyStoreTest, ManyThreadsReadTheSame) {
  const DocumentRow row = Create("d", 30, 3);
  const CachedKeyStore cache(store_.get(), 1 << 20);  // too small, so that blocks come and go
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (uint32_t round = 0; round < 20; ++round) ExpectWhole(cache, row, (round * 7 + t) % 16, 31);
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_GT(cache.cache_stats().hits, 0);
}

}  // namespace
}  // namespace ilre
