// Expiry, tenants and quotas.
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "common/base/errors.h"
#include "common/base/random.h"
#include "common/base/test_matchers.h"
#include "common/store/key_store.h"
#include "common/store/test_documents.h"
#include "gtest/gtest.h"

namespace ilre {
namespace {

class TenantTest : public ::testing::Test {
 protected:
  void Open(KeyStoreOptions options = {}) {
    store_ = nullptr;
    options.clock = [this] { return now_; };
    ILRE_ASSERT_OK_AND_ASSIGN(store_, OpenKeyStore(folder_.path(), options));
  }
  // A document with one block; its state has `state_bytes`.
  absl::StatusOr<DocumentRow> Put(const std::string& collection, const std::string& name, size_t state_bytes = 10) {
    absl::StatusOr<DocumentRow> row = store_->CreateDocument(NewRow(collection, name));
    return row.ok() ? Fill(*row, state_bytes) : row;
  }
  absl::StatusOr<DocumentRow> Fill(const DocumentRow& row, size_t state_bytes) {
    const std::string state(state_bytes, 's');
    return store_->Apply(MakeCommit(row, {&block_}, 0, 0, state));
  }
  std::vector<std::string> List(const std::string& collection) {
    std::vector<std::string> names;
    std::string next;
    do {
      const absl::StatusOr<KeyStoreReader::Page> page = store_->ListDocuments(collection, 1, next);
      EXPECT_THAT(page, IsOk());
      if (!page.ok()) return names;
      for (const DocumentRow& row : page->rows) names.push_back(absl::StrCat(row.collection, "/", row.document));
      next = page->next;
    } while (!next.empty());
    return names;
  }

  absl::Time now_ = absl::FromUnixSeconds(2'000'000'000);
  TempFolder folder_;
  Random random_{9};
  const OwnedBlock block_ = RandomBlock(&random_, 20, {kBf16Head64});
  std::unique_ptr<KeyStore> store_;
};

TEST_F(TenantTest, WhatHasExpiredIsNotThere) {
  Open();
  DocumentRow wanted = NewRow("c", "d");
  wanted.expire_time_ms = absl::ToUnixMillis(now_ + absl::Seconds(10));
  ILRE_ASSERT_OK_AND_ASSIGN(DocumentRow row, store_->CreateDocument(wanted));
  ILRE_ASSERT_OK_AND_ASSIGN(row, Fill(row, 1));
  KeyStoreOptions followers;
  followers.clock = [this] { return now_; };
  ILRE_ASSERT_OK_AND_ASSIGN(const auto follower, OpenKeyStoreFollower(folder_.path(), followers));
  now_ += absl::Seconds(9.999);
  ILRE_EXPECT_OK(store_->GetDocument("c", "d"));
  ILRE_EXPECT_OK(follower->GetDocument("c", "d"));
  now_ += absl::Milliseconds(1);
  for (const KeyStoreReader* reader : std::vector<const KeyStoreReader*>{store_.get(), follower.get()}) {
    EXPECT_EQ(ErrorReason(reader->GetDocument("c", "d").status()), "DOCUMENT_NOT_FOUND");
    ILRE_ASSERT_OK_AND_ASSIGN(const KeyStoreReader::Page page, reader->ListDocuments("", 10, ""));
    EXPECT_TRUE(page.rows.empty());
  }
  EXPECT_EQ(ErrorReason(store_->Apply(MakeCommit(row, {}, 1, row.committed_bytes, "")).status()), "DOCUMENT_CHANGED");
}

TEST_F(TenantTest, TheNameOfWhatHasExpiredIsFree) {
  Open();
  DocumentRow wanted = NewRow("c", "d");
  wanted.expire_time_ms = absl::ToUnixMillis(now_);
  ILRE_ASSERT_OK_AND_ASSIGN(const DocumentRow expired, store_->CreateDocument(wanted));
  ILRE_ASSERT_OK_AND_ASSIGN(const DocumentRow row, Put("c", "d"));
  EXPECT_GT(row.uid, expired.uid);
  EXPECT_EQ(store_->TotalUsage().num_documents, 1);
}

TEST_F(TenantTest, ASweepDeletesWhatHasExpired) {
  Open();
  for (int d = 0; d < 5; ++d) {
    DocumentRow wanted = NewRow("c", absl::StrCat("d", d));
    wanted.expire_time_ms = d == 4 ? 0 : absl::ToUnixMillis(now_ + absl::Seconds(d));
    ILRE_ASSERT_OK(store_->CreateDocument(wanted));
  }
  now_ += absl::Seconds(1);
  ILRE_ASSERT_OK_AND_ASSIGN(int deleted, store_->ExpireDocuments(now_));
  EXPECT_EQ(deleted, 2);
  EXPECT_EQ(store_->TotalUsage().num_documents, 3);
  ILRE_ASSERT_OK_AND_ASSIGN(deleted, store_->ExpireDocuments(now_));
  EXPECT_EQ(deleted, 0);
  now_ -= absl::Seconds(1);  // they do not come back
  EXPECT_EQ(List("c"), (std::vector<std::string>{"c/d2", "c/d3", "c/d4"}));
}

TEST_F(TenantTest, EachTenantHasCollectionsOfItsOwn) {
  Open();
  for (const char* collection : {"c", "t.a", "t.c", "t-2.c", "tt.c"}) ILRE_ASSERT_OK(Put(collection, "d"));
  EXPECT_EQ(List("t."), (std::vector<std::string>{"t.a/d", "t.c/d"}));
  EXPECT_EQ(List("t.c"), (std::vector<std::string>{"t.c/d"}));
  EXPECT_EQ(List("c"), (std::vector<std::string>{"c/d"}));
  EXPECT_EQ(List("").size(), 5);
  for (const char* nothing : {"t", "x.", ".", "t..", "t.c.", "T."}) EXPECT_EQ(List(nothing).size(), 0) << nothing;
  // A page token of one tenant says nothing about another's documents.
  EXPECT_EQ(ErrorReason(store_->ListDocuments("t.", 1, "tt.c/d").status()), "INVALID_PAGE_TOKEN");
  EXPECT_EQ(ErrorReason(store_->ListDocuments("t.", 1, "c/d").status()), "INVALID_PAGE_TOKEN");
}

TEST_F(TenantTest, UsageFollowsEveryChangeAndIsCountedAtOpening) {
  Open();
  ILRE_ASSERT_OK_AND_ASSIGN(const DocumentRow a, Put("t.c", "a", 100));
  ILRE_ASSERT_OK_AND_ASSIGN(const DocumentRow b, Put("t.c", "b", 5000));
  ILRE_ASSERT_OK_AND_ASSIGN(const DocumentRow c, Put("c", "c", 100));
  EXPECT_EQ(b.state_bytes, a.state_bytes + 4900);
  EXPECT_EQ(b.record_bytes, a.record_bytes);
  EXPECT_GT(a.record_bytes, block_.text.size() + block_.vectors[0].size());
  const auto expect = [&](uint64_t documents, uint64_t bytes) {
    EXPECT_EQ(store_->UsageOf("t").num_documents, documents);
    EXPECT_EQ(store_->UsageOf("t").bytes, bytes);
    EXPECT_EQ(store_->UsageOf("").bytes, c.record_bytes + c.state_bytes);
    EXPECT_EQ(store_->TotalUsage().bytes, bytes + c.record_bytes + c.state_bytes);
  };
  expect(2, 2 * a.record_bytes + a.state_bytes + b.state_bytes);
  ILRE_ASSERT_OK(store_->DeleteDocument("t.c", "b"));
  expect(1, a.record_bytes + a.state_bytes);
  // A partial last block that is replaced counts once.
  const OwnedBlock longer = RandomBlock(&random_, 200, {kBf16Head64});
  ILRE_ASSERT_OK_AND_ASSIGN(const DocumentRow replaced, store_->Apply(MakeCommit(a, {&longer}, 0, 0, "s")));
  ILRE_ASSERT_OK_AND_ASSIGN(DocumentRow whole, store_->CreateDocument(NewRow("u.c", "whole")));
  ILRE_ASSERT_OK_AND_ASSIGN(whole, store_->Apply(MakeCommit(whole, {&longer}, 0, 0, "s")));
  EXPECT_EQ(replaced.record_bytes, whole.record_bytes);
  ILRE_ASSERT_OK(store_->DeleteDocument("u.c", "whole"));
  Open();
  expect(1, replaced.record_bytes + replaced.state_bytes);
  EXPECT_EQ(store_->UsageOf("nobody").num_documents, 0);
}

TEST_F(TenantTest, ATenantIsHeldToItsQuota) {
  Open();
  ILRE_ASSERT_OK_AND_ASSIGN(const DocumentRow first, Put("t.c", "a"));
  const uint64_t each = first.record_bytes + first.state_bytes;
  KeyStoreOptions options;
  options.max_tenant_bytes = 2 * each + each / 2;
  options.max_bytes_of_tenant = {{"rich", 4 * each + each / 2}};
  Open(options);
  ILRE_ASSERT_OK_AND_ASSIGN(const DocumentRow second, Put("t.c", "b"));
  ILRE_ASSERT_OK_AND_ASSIGN(const DocumentRow third, store_->CreateDocument(NewRow("t.c", "c")));
  const absl::Status refused = Fill(third, 10).status();
  EXPECT_THAT(refused, StatusIs(absl::StatusCode::kResourceExhausted,
                                ::testing::AllOf(::testing::HasSubstr("tenant t "),
                                                 ::testing::HasSubstr(absl::StrCat(options.max_tenant_bytes)))));
  EXPECT_EQ(ErrorReason(refused), "QUOTA_EXCEEDED");
  EXPECT_EQ(DetailsOf(refused).metadata.at("limit_bytes"), absl::StrCat(options.max_tenant_bytes));
  // Nothing of it is there; others, and what needs no more room, are not concerned.
  ILRE_ASSERT_OK_AND_ASSIGN(const DocumentRow seen, store_->GetDocument("t.c", "c"));
  EXPECT_EQ(seen, third);
  ILRE_EXPECT_OK(Put("c", "d"));
  for (int d = 0; d < 4; ++d) ILRE_EXPECT_OK(Put("rich.c", absl::StrCat("d", d)));
  EXPECT_EQ(ErrorReason(Put("rich.c", "d4").status()), "QUOTA_EXCEEDED");
  ILRE_EXPECT_OK(store_->UpdateRow(second));
  // What was deleted makes room.
  ILRE_ASSERT_OK(store_->DeleteDocument("t.c", "a"));
  ILRE_EXPECT_OK(Fill(third, 10));
}

TEST_F(TenantTest, TheStoreIsHeldToItsQuota) {
  KeyStoreOptions options;
  options.max_store_bytes = 1;
  Open(options);
  EXPECT_EQ(ErrorReason(Put("t.c", "a").status()), "QUOTA_EXCEEDED");
  EXPECT_THAT(store_->GetDocument("t.c", "a"), StatusIs(absl::StatusCode::kNotFound));
  options.max_store_bytes = 1 << 20;
  Open(options);
  int stored = 0;
  absl::Status status;
  for (; stored < 1000 && status.ok(); ++stored) {
    status = Put(stored % 2 == 0 ? "t.c" : "u.c", absl::StrCat("d", stored), 10'000).status();
  }
  EXPECT_EQ(ErrorReason(status), "QUOTA_EXCEEDED");
  EXPECT_LE(store_->TotalUsage().bytes, options.max_store_bytes);
  EXPECT_GT(store_->TotalUsage().bytes, options.max_store_bytes - 100'000);
}

// Files of deleted documents go without anybody's asking.
TEST_F(TenantTest, TheSpaceOfDeletedDocumentsComesBackByItself) {
  Open({.write_buffer_bytes = 256 << 10});
  for (int d = 0; d < 8; ++d) ILRE_ASSERT_OK(Put("c", absl::StrCat("d", d), 2 << 20));
  ILRE_ASSERT_OK_AND_ASSIGN(const KeyStoreReader::Stats full, store_->GetStats());
  ASSERT_GT(full.disk_bytes, 16 << 20);
  for (int d = 0; d < 8; ++d) ILRE_ASSERT_OK(store_->DeleteDocument("c", absl::StrCat("d", d)));
  const absl::Time deadline = absl::Now() + absl::Seconds(120);
  uint64_t left = full.disk_bytes;
  while (left > full.disk_bytes / 8 && absl::Now() < deadline) {
    absl::SleepFor(absl::Milliseconds(20));
    ILRE_ASSERT_OK_AND_ASSIGN(const KeyStoreReader::Stats stats, store_->GetStats());
    left = stats.disk_bytes;
  }
  EXPECT_LE(left, full.disk_bytes / 8);
}

}  // namespace
}  // namespace ilre
