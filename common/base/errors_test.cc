#include "common/base/errors.h"

#include <cerrno>

#include "common/base/test_matchers.h"
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

TEST(ErrorsTest, PlainStatusHasNoReason) { EXPECT_EQ(ErrorReason(absl::OkStatus()), ""); }

}  // namespace
}  // namespace ilre
