// GoogleTest matchers for absl::Status and absl::StatusOr<T>, which this Abseil release does not have.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gmock/gmock.h"

namespace ilre {

inline const absl::Status& StatusOf(const absl::Status& status) { return status; }
template <typename T>
const absl::Status& StatusOf(const absl::StatusOr<T>& status_or) {
  return status_or.status();
}

MATCHER(IsOk, "is OK") {
  const absl::Status& status = StatusOf(arg);
  if (!status.ok()) *result_listener << status.ToString();
  return status.ok();
}

MATCHER_P(StatusIs, code, std::string("has code ") + absl::StatusCodeToString(code)) {
  const absl::Status& status = StatusOf(arg);
  *result_listener << status.ToString();
  return status.code() == code;
}

// Code, and a message that matches.
MATCHER_P2(StatusIs, code, message_matcher, std::string("has code ") + absl::StatusCodeToString(code)) {
  const absl::Status& status = StatusOf(arg);
  *result_listener << status.ToString();
  return status.code() == code &&
         ::testing::ExplainMatchResult(message_matcher, std::string(status.message()), result_listener);
}

}  // namespace ilre

#define ILRE_EXPECT_OK(expr) EXPECT_THAT((expr), ::ilre::IsOk())
#define ILRE_ASSERT_OK(expr) ASSERT_THAT((expr), ::ilre::IsOk())

// Unwraps an absl::StatusOr<T> in a test, or fails the test.
#define ILRE_ASSERT_OK_AND_ASSIGN(lhs, expr) \
  ILRE_ASSERT_OK_AND_ASSIGN_INNER(ILRE_TEST_CONCAT(ilre_test_status_or_, __LINE__), lhs, expr)
#define ILRE_TEST_CONCAT_INNER(a, b) a##b
#define ILRE_TEST_CONCAT(a, b) ILRE_TEST_CONCAT_INNER(a, b)
#define ILRE_ASSERT_OK_AND_ASSIGN_INNER(holder, lhs, expr) \
  auto holder = (expr);                                    \
  ASSERT_THAT(holder, ::ilre::IsOk());                     \
  lhs = *std::move(holder)
