// Stores and more than one process: killed writers and second writers.
#include <chrono>
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
#include "tests/store/known_documents.h"
#include "tests/store/writer_process.h"

namespace ilre {
namespace {

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
      ASSERT_TRUE(Note(line, &rows)) << line;
      ++num_acknowledged;
    }
    std::this_thread::sleep_for(std::chrono::microseconds(random.Below(3000)));
    writer->Kill();
    while (writer->ReadLine(&line)) {
      ASSERT_TRUE(Note(line, &rows)) << line;
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

}  // namespace
}  // namespace ilre
