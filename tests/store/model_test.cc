// 100,000 random operations with reopenings: a store says at every step what a map would say.
#include <memory>
#include <string>

#include "common/base/test_matchers.h"
#include "common/store/rocksdb_key_store.h"
#include "gtest/gtest.h"
#include "rocksdb/env.h"
#include "tests/store/faulty_file_system.h"
#include "tests/store/workload.h"

namespace ilre {
namespace {

TEST(ModelTest, SaysWhatAMapWouldSay) {
  constexpr int kOperations = 100'000;
  constexpr int kOperationsBetweenReopenings = 2'000;
  const TempFolder folder;
  const auto files = std::make_shared<FaultyFileSystem>();  // for its syncs, which cost nothing
  const std::unique_ptr<rocksdb::Env> env = NewFaultyEnv(files);
  const KeyStoreOptions options = {.write_buffer_bytes = 256 << 10, .block_cache_bytes = 1 << 20};
  Workload workload(/*seed=*/1, /*num_names=*/60);
  std::unique_ptr<RocksdbKeyStore> store;
  for (int i = 0; i < kOperations; ++i) {
    if (i % kOperationsBetweenReopenings == 0) {
      if (store != nullptr) {
        ASSERT_EQ(UsageDifference(*store, workload.expected()), "") << "before operation " << i;
      }
      store.reset();
      ILRE_ASSERT_OK_AND_ASSIGN(store, RocksdbKeyStore::Open(folder.path(), options, env.get()));
      ASSERT_EQ(Difference(*store, workload.expected()), "") << "after operation " << i;
      ASSERT_EQ(UsageDifference(*store, workload.expected()), "") << "after operation " << i;
    }
    ASSERT_EQ(workload.Step(store.get(), /*may_fail=*/false), "") << "operation " << i;
  }
  EXPECT_GT(workload.expected().size(), 30);
}

}  // namespace
}  // namespace ilre
