#include "common/rpc/authenticator.h"

#include <cstdio>
#include <string>

#include "common/base/errors.h"
#include "common/base/file.h"
#include "common/base/test_matchers.h"
#include "gtest/gtest.h"

namespace ilre {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class AuthenticatorTest : public ::testing::Test {
 protected:
  void Write(const std::string& content) { ILRE_ASSERT_OK(WriteFileAtomically(path_, content)); }
  absl::StatusOr<std::unique_ptr<Authenticator>> Open() {
    return Authenticator::Open(path_, log_, absl::ZeroDuration());  // looks at the file each time
  }

  const std::string path_ = ::testing::TempDir() + "/tokens." + std::to_string(getpid());
  std::string logged_;
  Logger log_{LogLevel::kInfo, LogFormat::kText, [this](absl::string_view line) { logged_ += std::string(line); }};
};

TEST_F(AuthenticatorTest, WithoutAFileEverybodyIsTheOneUser) {
  Authenticator authenticator;
  EXPECT_FALSE(authenticator.HasTokens());
  EXPECT_EQ(*authenticator.Authenticate(""), "");
  EXPECT_EQ(*authenticator.Authenticate("Bearer whatever"), "");
}

TEST_F(AuthenticatorTest, TokensBelongToTenants) {
  Write("# two tenants\n\nacme secret-1\nacme\tsecret-2  \r\nother-1 secret-3\n");
  ILRE_ASSERT_OK_AND_ASSIGN(const auto authenticator, Open());
  EXPECT_TRUE(authenticator->HasTokens());
  EXPECT_EQ(*authenticator->Authenticate("Bearer secret-1"), "acme");
  EXPECT_EQ(*authenticator->Authenticate("bearer secret-2"), "acme");
  EXPECT_EQ(*authenticator->Authenticate("Bearer  secret-3 "), "other-1");
  for (const std::string& wrong :
       {std::string(), std::string("Bearer"), std::string("Bearer "), std::string("secret-1"),
        std::string("Basic secret-1"), std::string("Bearer secret-"), std::string("Bearer secret-11"),
        std::string("Bearer SECRET-1"), std::string("Bearer acme"), "Bearer " + std::string(100'000, 's'),
        std::string("Bearer secret-1\0", 16)}) {
    const absl::StatusOr<std::string> tenant = authenticator->Authenticate(wrong);
    EXPECT_THAT(tenant, StatusIs(absl::StatusCode::kUnauthenticated)) << wrong.substr(0, 40);
    EXPECT_EQ(ErrorReason(tenant.status()), "UNAUTHENTICATED");
    EXPECT_THAT(std::string(tenant.status().message()), Not(HasSubstr("secret")));
  }
}

TEST_F(AuthenticatorTest, ABrokenFileIsRefusedByLineAndNeverQuoted) {
  for (const std::string line : {"acme", "acme secret-1 more", "Acme secret-1", "-acme secret-1", "a.b secret-1",
                                 "acme sec\x01ret-1", "acme secr\xc3\xa9t-1"}) {
    Write("# first\n" + line + "\n");
    const auto authenticator = Open();
    ASSERT_THAT(authenticator, StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("line 2"))) << line;
    EXPECT_EQ(ErrorReason(authenticator.status()), "BAD_TOKENS_FILE");
    EXPECT_THAT(std::string(authenticator.status().message()), Not(HasSubstr("secret")));
  }
  Write("one same-token\ntwo same-token\n");
  EXPECT_THAT(Open(), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("another tenant")));
  Write("# nobody\n");
  EXPECT_THAT(Open(), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("no token")));
  std::remove(path_.c_str());
  EXPECT_THAT(Open(), StatusIs(absl::StatusCode::kNotFound));
}

TEST_F(AuthenticatorTest, TheFileIsReadAgainWhenItChanges) {
  Write("acme old-token\n");
  ILRE_ASSERT_OK_AND_ASSIGN(const auto authenticator, Open());
  EXPECT_EQ(*authenticator->Authenticate("Bearer old-token"), "acme");
  Write("acme new-token\n");
  EXPECT_EQ(*authenticator->Authenticate("Bearer new-token"), "acme");
  EXPECT_THAT(authenticator->Authenticate("Bearer old-token"), StatusIs(absl::StatusCode::kUnauthenticated));
  EXPECT_THAT(logged_, HasSubstr("tokens reloaded"));
}

TEST_F(AuthenticatorTest, ABrokenNewFileLeavesTheOldTokensInForce) {
  Write("acme good-token\n");
  ILRE_ASSERT_OK_AND_ASSIGN(const auto authenticator, Open());
  Write("this is no tokens file\n");
  EXPECT_EQ(*authenticator->Authenticate("Bearer good-token"), "acme");
  EXPECT_THAT(logged_, HasSubstr("reason=BAD_TOKENS_FILE"));
  logged_.clear();
  EXPECT_EQ(*authenticator->Authenticate("Bearer good-token"), "acme");
  EXPECT_EQ(logged_, "");  // said once
  std::remove(path_.c_str());
  EXPECT_EQ(*authenticator->Authenticate("Bearer good-token"), "acme");
  EXPECT_THAT(logged_, HasSubstr("reason=FILE_NOT_FOUND"));
  Write("acme next-token\n");
  EXPECT_EQ(*authenticator->Authenticate("Bearer next-token"), "acme");
}

TEST_F(AuthenticatorTest, TheFileIsTrustedForAWhile) {
  Write("acme old-token\n");
  ILRE_ASSERT_OK_AND_ASSIGN(const auto authenticator, Authenticator::Open(path_, log_, absl::Hours(1)));
  Write("acme new-token\n");
  EXPECT_EQ(*authenticator->Authenticate("Bearer old-token"), "acme");
}

}  // namespace
}  // namespace ilre
