#include "common/base/errors.h"

#include <cerrno>

#include "common/base/test_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace ilre {
namespace {

TEST(ErrorsTest, ReasonSurvivesAnnotation) {
  absl::Status status = MakeError(absl::StatusCode::kDataLoss, "BLOCK_DAMAGED", "block 7");
  status = Annotate(status, "document a/b");
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(status.message(), "document a/b: block 7");
  EXPECT_EQ(ErrorReason(status), "BLOCK_DAMAGED");
}

TEST(ErrorsTest, MessagesAreOneLine) { EXPECT_EQ(errors::InvalidArgument("a\nb\x1b[31m").message(), "a b [31m"); }

TEST(ErrorsTest, FullDiskHasItsOwnReason) {
  EXPECT_EQ(ErrorReason(ErrnoError(ENOSPC, "write x")), "DISK_FULL");
  EXPECT_THAT(ErrnoError(ENOSPC, "write x"), StatusIs(absl::StatusCode::kResourceExhausted));
  EXPECT_THAT(ErrnoError(ENOENT, "open x"), StatusIs(absl::StatusCode::kNotFound));
}

TEST(ErrorsTest, DetailsSurviveAnnotation) {
  absl::Status status = WithResource(errors::InvalidField("sampling.top_p", "is 2"), "collections/a/documents/b");
  status = WithRetryDelay(WithMetadata(status, "committed_bytes", "7"), absl::Milliseconds(1500));
  const ErrorDetails details = DetailsOf(Annotate(status, "request"));
  EXPECT_EQ(details.field, "sampling.top_p");
  EXPECT_EQ(details.resource, "collections/a/documents/b");
  EXPECT_EQ(details.retry_delay, absl::Milliseconds(1500));
  EXPECT_THAT(details.metadata, testing::ElementsAre(testing::Pair("committed_bytes", "7")));
  EXPECT_TRUE(WithField(absl::OkStatus(), "x").ok());
}

TEST(ErrorsTest, PlainStatusHasNoReason) { EXPECT_EQ(ErrorReason(absl::OkStatus()), ""); }

}  // namespace
}  // namespace ilre
