#include "common/rpc/tls.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/base/errors.h"
#include "common/base/file.h"
#include "common/base/test_matchers.h"
#include "common/rpc/test_certificates.h"
#include "common/rpc/test_server.h"
#include "gtest/gtest.h"

namespace ilre {
namespace {

using ::testing::HasSubstr;

class TlsTest : public ::testing::Test {
 protected:
  static std::string Folder(const std::string& name) {
    return absl::StrCat(::testing::TempDir(), "/tls.", getpid(), ".", name);
  }
  static void SetUpTestSuite() {
    ours_ = new TestAuthority(Folder("ours"));
    theirs_ = new TestAuthority(Folder("theirs"));
    for (const TestAuthority* authority : {ours_, theirs_}) {
      authority->Issue("server");
      authority->Issue("client");
    }
  }

  static ServerOptions Options(bool mutual) {
    ServerOptions options;
    options.tls = {.cert = ours_->cert("server"), .key = ours_->key("server")};
    if (mutual) options.tls.client_ca = ours_->ca();
    options.tls_refresh_seconds = 1;
    return options;
  }

  static absl::Status AskWith(const TestServer& server, const ClientTls& tls) {
    auto channel = MakeChannel({.target = absl::StrCat("localhost:", server.port()), .tls = tls});
    if (!channel.ok()) return channel.status();
    CallContext context;
    context.deadline = absl::Now() + absl::Minutes(1);
    return Ask(**channel, context, "hello");
  }

  static TestAuthority *ours_, *theirs_;
};

TestAuthority* TlsTest::ours_ = nullptr;
TestAuthority* TlsTest::theirs_ = nullptr;

TEST_F(TlsTest, OnlyThoseWhoSpeakTlsAndTrustTheServerGetIn) {
  TestServer server(Options(/*mutual=*/false));
  ILRE_EXPECT_OK(AskWith(server, {.enabled = true, .ca = ours_->ca()}));
  EXPECT_THAT(AskWith(server, {.enabled = true, .ca = theirs_->ca()}), StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_THAT(AskWith(server, {}), StatusIs(absl::StatusCode::kUnavailable));
  ILRE_EXPECT_OK(AskWith(server, {.enabled = true, .ca = ours_->ca()}));  // the server lives
}

TEST_F(TlsTest, MutualTlsWantsACertificateOfTheRightAuthority) {
  TestServer server(Options(/*mutual=*/true));
  const std::string ca = ours_->ca();
  ILRE_EXPECT_OK(
      AskWith(server, {.enabled = true, .ca = ca, .cert = ours_->cert("client"), .key = ours_->key("client")}));
  EXPECT_THAT(AskWith(server, {.enabled = true, .ca = ca}), StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_THAT(
      AskWith(server, {.enabled = true, .ca = ca, .cert = theirs_->cert("client"), .key = theirs_->key("client")}),
      StatusIs(absl::StatusCode::kUnavailable));
}

TEST_F(TlsTest, RenewedCertificatesAreTakenUp) {
  TestAuthority before(Folder("before")), after(Folder("after"));
  before.Issue("server");
  after.Issue("server");
  ServerOptions options = Options(/*mutual=*/false);
  options.tls = {.cert = before.cert("server"), .key = before.key("server")};
  TestServer server(options);
  ILRE_ASSERT_OK(AskWith(server, {.enabled = true, .ca = before.ca()}));
  ASSERT_EQ(std::rename(after.key("server").c_str(), before.key("server").c_str()), 0);
  ASSERT_EQ(std::rename(after.cert("server").c_str(), before.cert("server").c_str()), 0);
  EXPECT_TRUE(Eventually([&] {
    absl::SleepFor(absl::Milliseconds(100));  // a handshake is no light thing to poll with
    return AskWith(server, {.enabled = true, .ca = after.ca()}).ok();
  }));
}

TEST_F(TlsTest, FilesThatAreNoGoodAreNamed) {
  const std::string cert = ours_->cert("server"), key = ours_->key("server");
  EXPECT_THAT(MakeServerCredentials({.cert = cert}), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(MakeServerCredentials({.client_ca = cert}), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(MakeServerCredentials({.cert = cert, .key = "/nonexistent"}), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(MakeServerCredentials({.cert = key, .key = key}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(key + ": not a certificate")));
  EXPECT_THAT(MakeServerCredentials({.cert = cert, .key = cert}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(cert + ": not a private key")));
  const auto mixed = MakeServerCredentials({.cert = cert, .key = theirs_->key("server")});
  EXPECT_THAT(mixed, StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("not the key of the certificate")));
  EXPECT_EQ(ErrorReason(mixed.status()), "BAD_CERTIFICATE");
  EXPECT_THAT(MakeChannelCredentials({.enabled = true, .ca = key}), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(MakeChannelCredentials({.enabled = true, .cert = cert}), StatusIs(absl::StatusCode::kInvalidArgument));
}

}  // namespace
}  // namespace ilre
