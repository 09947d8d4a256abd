#include "common/base/file.h"

#include <string>

#include "common/base/test_matchers.h"
#include "gtest/gtest.h"

namespace ilre {
namespace {

std::string TempPath(const std::string& name) { return ::testing::TempDir() + "/" + name; }

TEST(FileTest, WritesReadsAndMaps) {
  const std::string path = TempPath("file_test_content");
  const std::string content("a\0b\xff", 4);
  ILRE_ASSERT_OK(WriteFileAtomically(path, content));
  ILRE_ASSERT_OK_AND_ASSIGN(std::string read, ReadFile(path, 100));
  EXPECT_EQ(read, content);
  ILRE_ASSERT_OK_AND_ASSIGN(auto mapped, MappedFile::Open(path));
  EXPECT_EQ(mapped->bytes(), content);
}

TEST(FileTest, EmptyFileMapsToNothing) {
  const std::string path = TempPath("file_test_empty");
  ILRE_ASSERT_OK(WriteFileAtomically(path, ""));
  ILRE_ASSERT_OK_AND_ASSIGN(auto mapped, MappedFile::Open(path));
  EXPECT_TRUE(mapped->bytes().empty());
}

TEST(FileTest, ReplacesWhatWasThere) {
  const std::string path = TempPath("file_test_replace");
  ILRE_ASSERT_OK(WriteFileAtomically(path, "a long first content"));
  ILRE_ASSERT_OK(WriteFileAtomically(path, "short"));
  ILRE_ASSERT_OK_AND_ASSIGN(std::string read, ReadFile(path, 100));
  EXPECT_EQ(read, "short");
}

TEST(FileTest, RefusesWhatIsNoFileOrTooLarge) {
  EXPECT_THAT(MappedFile::Open("/nowhere/at/all"), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(MappedFile::Open(::testing::TempDir()), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(ReadFile("/dev/zero", 10), StatusIs(absl::StatusCode::kInvalidArgument));
  const std::string path = TempPath("file_test_large");
  ILRE_ASSERT_OK(WriteFileAtomically(path, "12345"));
  EXPECT_THAT(ReadFile(path, 4), StatusIs(absl::StatusCode::kInvalidArgument, ::testing::HasSubstr("at most 4")));
}

}  // namespace
}  // namespace ilre
