// Disks that fail and power that is cut: what was acknowledged is there, what was refused is not, and once the fault is
// over the store goes on without a restart.
#include <climits>
#include <memory>
#include <string>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "common/base/errors.h"
#include "common/base/test_matchers.h"
#include "common/store/rocksdb_key_store.h"
#include "gtest/gtest.h"
#include "rocksdb/env.h"
#include "tests/store/faulty_file_system.h"
#include "tests/store/workload.h"

namespace ilre {
namespace {

// Faults come at counted calls, so nothing is to happen by itself.
const KeyStoreOptions kSmallBuffers = {
    .write_buffer_bytes = 64 << 10, .block_cache_bytes = 1 << 20, .compact_in_background = false};
constexpr int kNames = 6;

// A store over failing files, and the map that it should equal.
struct Scene {
  explicit Scene(uint64_t seed) : random(seed), workload(seed, kNames) { Open(); }

  void Open() {
    store.reset();
    absl::StatusOr<std::unique_ptr<RocksdbKeyStore>> opened =
        RocksdbKeyStore::Open(folder.path(), kSmallBuffers, env.get());
    ILRE_ASSERT_OK(opened);
    store = *std::move(opened);
  }
  // Steps until a write failed, or `most` are done.
  void RunUntilFailure(int most) {
    const int failed = workload.num_failed();
    for (int i = 0; i < most && workload.num_failed() == failed; ++i) {
      ASSERT_EQ(workload.Step(store.get(), /*may_fail=*/true), "");
    }
  }
  void Run(int steps, bool may_fail) {
    for (int i = 0; i < steps; ++i) ASSERT_EQ(workload.Step(store.get(), may_fail), "");
  }
  void ExpectSame(const std::string& when) {
    const std::string difference = Difference(*store, workload.expected());
    EXPECT_EQ(difference, "") << when;
    EXPECT_EQ(UsageDifference(*store, workload.expected()), "") << when;
  }
  void DeleteAll() {
    const ExpectedStore documents = workload.expected();
    ASSERT_FALSE(documents.empty());
    for (const auto& document : documents) {
      const auto& [collection, name] = document.first;
      ILRE_ASSERT_OK(store->DeleteDocument(collection, name));
    }
  }
  void CutPower(Loss loss) {
    files->CutPower();
    store.reset();
    files->RestorePower(loss, &random);
  }

  TempFolder folder;
  std::shared_ptr<FaultyFileSystem> files = std::make_shared<FaultyFileSystem>();
  std::unique_ptr<rocksdb::Env> env = NewFaultyEnv(files);
  Random random;
  Workload workload;
  std::unique_ptr<RocksdbKeyStore> store;
};

// Kind of fault, how many calls succeed before it, how many fail.
using Plan = std::tuple<Fault, int, int>;

class FaultTest : public ::testing::TestWithParam<Plan> {};

TEST_P(FaultTest, ServiceGoesOnAndNothingIsLostOrInvented) {
  const auto [fault, after, count] = GetParam();
  Scene scene(static_cast<uint64_t>(after) * 7 + static_cast<uint64_t>(fault));
  scene.Run(15, /*may_fail=*/false);
  scene.files->Arm(fault, after, count);
  scene.RunUntilFailure(300);
  scene.ExpectSame("while the disk fails");
  scene.Run(5, /*may_fail=*/true);
  scene.ExpectSame("while the disk still fails");
  scene.files->Heal();
  scene.Run(15, /*may_fail=*/false);
  scene.ExpectSame("after the fault");
  scene.Open();
  scene.ExpectSame("after reopening");
}

TEST_P(FaultTest, APowerCutAfterAFaultLosesNothingAcknowledged) {
  const auto [fault, after, count] = GetParam();
  Scene scene(static_cast<uint64_t>(after) * 11 + static_cast<uint64_t>(fault));
  scene.Run(15, /*may_fail=*/false);
  scene.files->Arm(fault, after, count);
  scene.RunUntilFailure(300);
  scene.CutPower(Loss::kAll);
  scene.Open();
  scene.ExpectSame("after the power cut");
  scene.Run(15, /*may_fail=*/false);
  scene.ExpectSame("later");
}

std::string PlanName(const ::testing::TestParamInfo<Plan>& info) {
  constexpr const char* kNames[] = {"Eio", "Enospc", "ShortWrite", "Fsync"};
  const auto [fault, after, count] = info.param;
  return absl::StrCat(kNames[static_cast<int>(fault)], "After", after, count == INT_MAX ? "ForEver" : "Once");
}

INSTANTIATE_TEST_SUITE_P(All, FaultTest,
                         ::testing::Combine(::testing::Values(Fault::kInputOutput, Fault::kNoSpace, Fault::kShortWrite,
                                                              Fault::kSync),
                                            ::testing::Values(0, 1, 2, 5, 13, 60), ::testing::Values(1, INT_MAX)),
                         PlanName);

class PowerCutTest : public ::testing::TestWithParam<int> {};

// Power goes again and again, at any moment, with any part of what was not synced left.
TEST_P(PowerCutTest, WhatIsAcknowledgedSurvives) {
  Scene scene(static_cast<uint64_t>(GetParam()) + 1000);
  for (int round = 0; round < 10; ++round) {
    scene.Run(static_cast<int>(scene.random.Below(60)), /*may_fail=*/false);
    scene.CutPower(GetParam() % 2 == 0 ? Loss::kAll : Loss::kRandom);
    scene.Open();
    scene.ExpectSame(absl::StrCat("round ", round));
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, PowerCutTest, ::testing::Range(0, 6));

TEST(FullDiskTest, IsNamedAndReadingGoesOn) {
  Scene scene(5);
  scene.Run(40, /*may_fail=*/false);
  ASSERT_FALSE(scene.workload.expected().empty());
  scene.files->Arm(Fault::kNoSpace, 0, INT_MAX);
  for (int attempt = 0; attempt < 3; ++attempt) {
    const absl::Status status = scene.store->CreateDocument(NewRow("c", "new")).status();
    EXPECT_THAT(status, StatusIs(absl::StatusCode::kResourceExhausted, ::testing::HasSubstr(scene.folder.path())));
    EXPECT_EQ(ErrorReason(status), "DISK_FULL");
    scene.ExpectSame("on a full disk");
  }
  scene.files->Heal();
  ILRE_EXPECT_OK(scene.store->CreateDocument(NewRow("c", "new")));
}

TEST(GivingSpaceBackTest, ADiskThatFailsAtAnyCallIsNoMoreThanAnError) {
  bool failed = true;
  int after = 0;
  for (; failed; ++after) {
    SCOPED_TRACE(after);
    Scene scene(7);
    scene.Run(40, /*may_fail=*/false);
    scene.Open();  // so that the documents lie in tables
    ASSERT_NO_FATAL_FAILURE(scene.DeleteAll());
    scene.files->Arm(Fault::kInputOutput, after, INT_MAX);
    const absl::Status status = scene.store->CompactDeleted();
    failed = scene.files->num_injected() > 0;
    EXPECT_TRUE(failed || status.ok()) << status;
    scene.files->Heal();
    ILRE_EXPECT_OK(scene.store->CreateDocument(NewRow("c", "new")));
    ILRE_EXPECT_OK(scene.store->CompactDeleted());
  }
  EXPECT_GT(after, 20);
}

TEST(FailedSyncTest, ARefusedCommitNeverComesBack) {
  // The record is whole in the log when its sync fails; RocksDB by itself would replay it at the next opening.
  Scene scene(6);
  ILRE_ASSERT_OK_AND_ASSIGN(const DocumentRow row, scene.store->CreateDocument(NewRow("c", "d")));
  const OwnedBlock block = RandomBlock(&scene.random, 7, {kBf16Head64});
  scene.files->Arm(Fault::kSync, 0, 1);
  EXPECT_THAT(scene.store->Apply(MakeCommit(row, {&block}, 0, 0, "")), StatusIs(absl::StatusCode::kUnavailable));
  ILRE_ASSERT_OK_AND_ASSIGN(DocumentRow seen, scene.store->GetDocument("c", "d"));
  EXPECT_EQ(seen, row);
  scene.Open();
  ILRE_ASSERT_OK_AND_ASSIGN(seen, scene.store->GetDocument("c", "d"));
  EXPECT_EQ(seen, row);
  ILRE_EXPECT_OK(scene.store->Apply(MakeCommit(row, {&block}, 0, 0, "")));
}

}  // namespace
}  // namespace ilre
