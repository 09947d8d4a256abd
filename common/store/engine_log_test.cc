#include "common/store/engine_log.h"

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "common/base/test_matchers.h"
#include "common/store/test_documents.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace ilre {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

std::string Content(const std::string& file) {
  std::ifstream in(file);
  return std::string(std::istreambuf_iterator<char>(in), {});
}

TEST(EngineLogTest, KeepsWarningsAndErrorsAndTheLogBefore) {
  const TempFolder folder;
  rocksdb::Warn(OpenEngineLog(folder.path()).get(), "from %s", "before");
  const auto log = OpenEngineLog(folder.path());
  rocksdb::Info(log.get(), "a detail");
  rocksdb::Warn(log.get(), "a warning of %d", 1);
  rocksdb::Error(log.get(), "an error");
  EXPECT_THAT(Content(folder.path() + "/LOG"),
              AllOf(HasSubstr("a warning of 1\n"), HasSubstr("an error\n"), Not(HasSubstr("detail"))));
  EXPECT_THAT(Content(folder.path() + "/LOG.old"), HasSubstr("from before\n"));
}

TEST(EngineLogTest, StaysWithinItsSize) {
  const TempFolder folder;
  constexpr uint64_t kMaxBytes = 1000;
  const auto log = OpenEngineLog(folder.path(), kMaxBytes);
  for (int i = 0; i < 100; ++i) rocksdb::Warn(log.get(), "warning %d", i);
  const uint64_t size = std::filesystem::file_size(folder.path() + "/LOG");
  EXPECT_GT(size, kMaxBytes / 2);
  EXPECT_LE(size, kMaxBytes);
}

TEST(EngineLogTest, AFileThatCannotBeWrittenIsNoError) {
  const TempFolder folder;
  std::filesystem::create_symlink("/dev/full", folder.path() + "/LOG");
  std::filesystem::create_directory(folder.path() + "/LOG.old");  // so that the link stays
  const auto full = OpenEngineLog(folder.path());
  for (int i = 0; i < 3; ++i) rocksdb::Error(full.get(), "no room for %d", i);
  const auto missing = OpenEngineLog(folder.path() + "/missing");
  rocksdb::Error(missing.get(), "no folder");
  EXPECT_TRUE(std::filesystem::is_symlink(folder.path() + "/LOG"));
}

}  // namespace
}  // namespace ilre
