// Records of every version that was ever written are read for ever: their bytes lie in tests/format/golden.
#include <string>

#include "common/base/file.h"
#include "common/base/test_matchers.h"
#include "gtest/gtest.h"
#include "tests/format/golden_records.h"

namespace ilre {
namespace {

constexpr char kFolder[] = "tests/format/golden/";
constexpr uint64_t kMaxFileBytes = 1 << 20;

TEST(GoldenTest, RecordsAreWrittenAsTheyEverWere) {
  for (const GoldenRecord& record : MakeGoldenRecords()) {
    ILRE_ASSERT_OK_AND_ASSIGN(const std::string content, ReadFile(kFolder + record.name + ".bin", kMaxFileBytes));
    EXPECT_EQ(content, GoldenFileContent(record)) << record.name;
  }
}

TEST(GoldenTest, RecordsAreReadAsTheyEverWere) {
  for (const GoldenRecord& record : MakeGoldenRecords()) {
    ILRE_ASSERT_OK_AND_ASSIGN(const std::string content, ReadFile(kFolder + record.name + ".bin", kMaxFileBytes));
    ASSERT_GT(content.size(), 1);
    const auto key_bytes = static_cast<size_t>(static_cast<unsigned char>(content[0]));
    ASSERT_GT(content.size(), 1 + key_bytes);
    const std::string key = content.substr(1, key_bytes), value = content.substr(1 + key_bytes);
    std::string again;
    ILRE_EXPECT_OK(ParseAndReencode(record.kind, key, value, &again)) << record.name;
    EXPECT_EQ(again, value) << record.name;
  }
}

}  // namespace
}  // namespace ilre
