#include "common/model/bounded_json.h"

#include <string>

#include "common/base/errors.h"
#include "common/base/test_matchers.h"
#include "gtest/gtest.h"

namespace ilre {
namespace {

using ::testing::HasSubstr;

constexpr JsonLimits kLimits = {.max_depth = 3, .max_values = 5};

void ExpectBad(const std::string& text, const std::string& message) {
  const absl::Status status = ParseJsonObject("x.json", text, kLimits).status();
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("x.json: " + message)));
  EXPECT_EQ(ErrorReason(status), "BAD_MODEL_FILE");
}

TEST(BoundedJsonTest, LimitsAreExact) {
  ILRE_EXPECT_OK(ParseJsonObject("x.json", R"({"a":{"b":[1]}})", kLimits));
  ExpectBad(R"({"a":{"b":[[]]}})", "is nested deeper than 3 levels");
  ILRE_EXPECT_OK(ParseJsonObject("x.json", R"({"a":[1,2,3]})", kLimits));
  ExpectBad(R"({"a":[1,2,3,4]})", "has more than 5 values");
}

TEST(BoundedJsonTest, KeysOccurOnceInEachObject) {
  ILRE_EXPECT_OK(ParseJsonObject("x.json", R"({"a":{"a":1},"b":{"a":1}})", kLimits));
  ExpectBad(R"({"b":{"a":1,"c":2,"a":3}})", "has the key 'a' twice");
}

TEST(BoundedJsonTest, OnlyWholeObjects) {
  ExpectBad("", "is not valid JSON at byte 1");
  ExpectBad(R"({"a":1)", "is not valid JSON at byte 7");
  ExpectBad(R"({"a":1}})", "is not valid JSON at byte 8");
  ExpectBad("[1]", "is not a JSON object");
}

// Values after the first broken rule are not kept, so that memory stays bounded; nor does their number make it slow.
TEST(BoundedJsonTest, LongInputsAreErrors) {
  ExpectBad("{\"a\":" + std::string(1'000'000, '['), "is not valid JSON");
  std::string wide = "{\"a\":[0";
  for (int i = 0; i < 500'000; ++i) wide += ",{}";
  ExpectBad(wide + "]}", "has more than 5 values");
}

}  // namespace
}  // namespace ilre
