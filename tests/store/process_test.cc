// Stores and more than one process: killed writers, second writers, followers.
#include <chrono>
#include <filesystem>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <thread>

#include "common/base/errors.h"
#include "common/base/random.h"
#include "common/base/test_matchers.h"
#include "common/store/key_store.h"
#include "gtest/gtest.h"
#include "tests/store/child_process.h"
#include "tests/store/known_documents.h"

namespace ilre {
namespace {

std::unique_ptr<ChildProcess> StartWriter(const std::string& folder, const std::string& seed = "") {
  std::vector<std::string> arguments = {ProgramFolder() + "/store_writer", folder};
  if (!seed.empty()) arguments.push_back(seed);
  auto writer = std::make_unique<ChildProcess>(arguments);
  std::string line;
  EXPECT_TRUE(writer->ReadLine(&line));
  EXPECT_EQ(line, "ready");
  return writer;
}

// What was acknowledged last of each name; revision 0: it is gone.
struct Acknowledged {
  uint64_t uid = 0, revision = 0;
  uint32_t num_blocks = 0;
};
using AcknowledgedRows = std::map<std::string, Acknowledged>;

void Note(const std::string& line, AcknowledgedRows* rows) {
  std::istringstream words(line);
  std::string name, uid;
  words >> name >> uid;
  Acknowledged row;
  if (uid != "gone") {
    row.uid = std::stoull(uid);
    words >> row.revision >> row.num_blocks;
  }
  ASSERT_TRUE(words || words.eof()) << line;
  (*rows)[name] = row;
}

// The stored row is the acknowledged one, or what the one operation did that was on its way when the writer died; and
// it is whole. Makes `row` what is stored.
void CheckSurvivor(const KeyStoreReader& store, const std::string& name, Acknowledged* row, int* num_in_flight) {
  const absl::StatusOr<DocumentRow> stored = store.GetDocument(kKnownCollection, name);
  if (absl::IsNotFound(stored.status())) {
    if (row->revision != 0) ++*num_in_flight;
    *row = {};
    return;
  }
  ILRE_ASSERT_OK(stored);
  EXPECT_EQ(KnownDifference(store, *stored), "") << name;
  const bool same = stored->uid == row->uid && stored->revision == row->revision;
  if (same) {
    EXPECT_EQ(stored->num_blocks, row->num_blocks);
  } else {
    ++*num_in_flight;
    const bool next = stored->uid == row->uid && stored->revision == row->revision + 1;
    // A document that was deleted, or never there, and is being made: created, or its first blocks are there, too.
    const bool anew = row->revision == 0 && stored->revision <= 2 && stored->uid > row->uid;
    EXPECT_TRUE(next || anew) << name << " is at revision " << stored->revision << ", acknowledged " << row->revision;
  }
  *row = {stored->uid, stored->revision, stored->num_blocks};
}

TEST(KillTest, WhatWasAcknowledgedSurvives200Kills) {
  constexpr int kKills = 200;
  const TempFolder folder;
  Random random(1);
  AcknowledgedRows rows;
  uint64_t num_acknowledged = 0;
  for (int kill = 0; kill < kKills; ++kill) {
    const std::unique_ptr<ChildProcess> writer = StartWriter(folder.path(), std::to_string(random.Below(1'000'000)));
    std::string line;
    for (uint64_t lines = random.Below(12); lines > 0 && writer->ReadLine(&line); --lines) {
      Note(line, &rows);
      ++num_acknowledged;
    }
    std::this_thread::sleep_for(std::chrono::microseconds(random.Below(3000)));
    writer->Kill();
    while (writer->ReadLine(&line)) {
      Note(line, &rows);
      ++num_acknowledged;
    }
    ILRE_ASSERT_OK_AND_ASSIGN(const std::unique_ptr<KeyStore> store, OpenKeyStore(folder.path(), KeyStoreOptions()));
    int num_in_flight = 0;
    for (int d = 0; d < 4; ++d) {
      const std::string name = "d" + std::to_string(d);
      CheckSurvivor(*store, name, &rows[name], &num_in_flight);
    }
    EXPECT_LE(num_in_flight, 1);
  }
  EXPECT_GT(num_acknowledged, kKills);
}

TEST(SecondWriterTest, IsRefusedClearly) {
  const TempFolder folder;
  const std::unique_ptr<ChildProcess> writer = StartWriter(folder.path());
  const absl::Status status = OpenKeyStore(folder.path(), KeyStoreOptions()).status();
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kFailedPrecondition, ::testing::HasSubstr(folder.path())));
  EXPECT_EQ(ErrorReason(status), "DATA_DIRECTORY_IN_USE");
  writer->Kill();
  ILRE_EXPECT_OK(OpenKeyStore(folder.path(), KeyStoreOptions()));
}

class FollowerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    writer_ = StartWriter(store_folder_.path());
    KeyStoreOptions options;
    options.follower_scratch_path = scratch_folder_.path();
    ILRE_ASSERT_OK_AND_ASSIGN(follower_, OpenKeyStoreFollower(store_folder_.path(), options));
  }
  void Command(const std::string& command) {
    writer_->WriteLine(command);
    std::string line;
    do ASSERT_TRUE(writer_->ReadLine(&line));
    while (line != "ok" && line.find(':') == std::string::npos);
    ASSERT_EQ(line, "ok") << command;
  }
  absl::StatusOr<DocumentRow> Get(const std::string& name) { return follower_->GetDocument(kKnownCollection, name); }
  bool ScratchIsEmpty() const { return std::filesystem::is_empty(scratch_folder_.path()); }

  TempFolder store_folder_, scratch_folder_;
  std::unique_ptr<ChildProcess> writer_;
  std::unique_ptr<KeyStoreReader> follower_;
};

TEST_F(FollowerTest, SeesCommitsAfterRefresh) {
  EXPECT_THAT(Get("a"), StatusIs(absl::StatusCode::kNotFound));
  uint64_t revision = 1;
  for (const int num_blocks : {1, 3, 40, 2, 100}) {
    Command("append a " + std::to_string(num_blocks));
    ILRE_ASSERT_OK(follower_->Refresh());
    ILRE_ASSERT_OK_AND_ASSIGN(const DocumentRow row, Get("a"));
    EXPECT_EQ(row.revision, ++revision);
    EXPECT_EQ(KnownDifference(*follower_, row), "");
  }
  ILRE_ASSERT_OK_AND_ASSIGN(const KeyStoreReader::Stats stats, follower_->GetStats());
  EXPECT_EQ(stats.num_documents, 1);
}

TEST_F(FollowerTest, SurvivesDeletionAndCompaction) {
  Command("append a 60");
  Command("append b 60");
  ILRE_ASSERT_OK(follower_->Refresh());
  ILRE_ASSERT_OK_AND_ASSIGN(const DocumentRow a, Get("a"));
  ILRE_ASSERT_OK_AND_ASSIGN(const DocumentRow b, Get("b"));
  Command("delete a");
  Command("append c 60");
  Command("compact");
  // Before it catches up, it still has what it had: files that are gone for the writer are mapped.
  EXPECT_EQ(KnownDifference(*follower_, a), "");
  EXPECT_EQ(KnownDifference(*follower_, b), "");
  ILRE_ASSERT_OK(follower_->Refresh());
  EXPECT_THAT(Get("a"), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_EQ(ErrorReason(follower_->VisitBlocks(a, 0, 60, [](const BlockView&) { return absl::OkStatus(); })),
            "DOCUMENT_NOT_FOUND");
  EXPECT_EQ(KnownDifference(*follower_, b), "");
  ILRE_ASSERT_OK_AND_ASSIGN(const DocumentRow c, Get("c"));
  EXPECT_EQ(KnownDifference(*follower_, c), "");
}

TEST_F(FollowerTest, AVisitSurvivesARefreshMeanwhile) {
  Command("append a 50");
  ILRE_ASSERT_OK(follower_->Refresh());
  ILRE_ASSERT_OK_AND_ASSIGN(const DocumentRow row, Get("a"));
  ILRE_EXPECT_OK(follower_->VisitBlocks(row, 0, 50, [&](const BlockView& view) {
    if (view.block() == 10) Command("delete a");
    if (view.block() == 20) Command("append b 50");
    if (view.block() == 30) Command("compact");
    return view.block() % 10 == 5 ? follower_->Refresh() : absl::OkStatus();
  }));
}

TEST_F(FollowerTest, SurvivesItsWriter) {
  Command("append a 5");
  ILRE_ASSERT_OK(follower_->Refresh());
  writer_->Kill();
  ILRE_EXPECT_OK(follower_->Refresh());
  ILRE_ASSERT_OK_AND_ASSIGN(const DocumentRow row, Get("a"));
  EXPECT_EQ(KnownDifference(*follower_, row), "");
  writer_ = StartWriter(store_folder_.path());
  Command("append a 5");
  ILRE_ASSERT_OK(follower_->Refresh());
  ILRE_ASSERT_OK_AND_ASSIGN(const DocumentRow longer, Get("a"));
  EXPECT_EQ(longer.num_blocks, 10);
  EXPECT_EQ(KnownDifference(*follower_, longer), "");
}

// Known to fail about every other run: RocksDB's secondary instance does not always find its files and its log agree
// while the writer flushes without a pause, and then reports a block as missing (an error, never other content) until a
// later Refresh. Programs that open the store anew, as `ilre ask` does, are not affected. Run it with
// --gtest_also_run_disabled_tests.
TEST_F(FollowerTest, DISABLED_FollowsAWriterThatWritesAsItReads) {
  writer_->Kill();
  writer_ = StartWriter(store_folder_.path(), "7");
  int num_read = 0;
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(2);
  while (std::chrono::steady_clock::now() < end) {
    ILRE_ASSERT_OK(follower_->Refresh());
    for (int d = 0; d < 4; ++d) {
      const absl::StatusOr<DocumentRow> row = Get("d" + std::to_string(d));
      if (!row.ok()) {
        EXPECT_THAT(row, StatusIs(absl::StatusCode::kNotFound));
        continue;
      }
      ++num_read;
      const std::string difference = KnownDifference(*follower_, *row);
      if (difference.empty()) continue;
      // Right only where the document is another by now.
      ILRE_ASSERT_OK(follower_->Refresh());
      const absl::StatusOr<DocumentRow> now = Get(row->document);
      EXPECT_FALSE(now.ok() && *now == *row) << row->document << " revision " << row->revision << ": " << difference;
    }
  }
  EXPECT_GT(num_read, 20);
}

TEST_F(FollowerTest, RemovesItsScratchFolder) {
  EXPECT_FALSE(ScratchIsEmpty());
  follower_.reset();
  EXPECT_TRUE(ScratchIsEmpty());
}

}  // namespace
}  // namespace ilre
