#include "common/rpc/client.h"

#include <atomic>
#include <map>
#include <memory>
#include <string>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/base/errors.h"
#include "common/base/file.h"
#include "common/base/test_matchers.h"
#include "common/rpc/status_conversion.h"
#include "common/rpc/test_server.h"
#include "common/rpc/trace_context.h"
#include "gtest/gtest.h"

namespace ilre {
namespace {

TEST(ClientTest, TheContextGoesAlong) {
  const std::string path = absl::StrCat(::testing::TempDir(), "/client_tokens.", getpid());
  ILRE_ASSERT_OK(WriteFileAtomically(path, "acme s3cret\n"));
  ServerOptions options;
  options.tokens_file = path;
  TestServer server(options);
  const auto channel = LoopbackChannel(server.port());
  CallContext context;
  context.request_id = "parent-1";
  context.authorization = "Bearer s3cret";
  context.traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
  context.tracestate = "vendor=1";
  context.deadline = absl::Now() + absl::Hours(2);
  const absl::Status status = Ask(*channel, context, "context");
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kInvalidArgument));
  std::map<std::string, std::string> seen = DetailsOf(status).metadata;
  EXPECT_EQ(seen["tenant"], "acme");
  EXPECT_EQ(seen["request_id"], "parent-1");
  EXPECT_EQ(seen["authorization"], "Bearer s3cret");
  EXPECT_EQ(seen["tracestate"], "vendor=1");
  EXPECT_EQ(TraceIdOf(seen["traceparent"]), TraceIdOf(context.traceparent));
  EXPECT_NE(seen["traceparent"], context.traceparent);
  EXPECT_EQ(seen["seconds_left"].size(), 4u) << seen["seconds_left"];  // 7199 or a little less
  context.authorization.clear();
  EXPECT_THAT(Ask(*channel, context, "context"), StatusIs(absl::StatusCode::kUnauthenticated));
}

TEST(ClientTest, ErrorsArriveAsTheyWereSent) {
  TestServer server;
  const absl::Status status = Ask(*LoopbackChannel(server.port()), {}, "fail");
  EXPECT_EQ(status, WithField(errors::InvalidArgument("as asked for"), "question"));
}

TEST(ClientTest, ACancelledParentCancelsItsChild) {
  TestServer server;
  const auto channel = LoopbackChannel(server.port());
  for (const std::string question : {"hold", "idle"}) {
    const int started = server.retriever().num_started(), stopped = server.retriever().num_stopped();
    std::atomic<bool> cancelled{false};
    CallContext context;
    context.cancelled = [&] { return cancelled.load(); };
    std::thread parent([&] { EXPECT_THAT(Ask(*channel, context, question), StatusIs(absl::StatusCode::kCancelled)); });
    server.WaitForStarted(started + 1);
    cancelled = true;
    parent.join();
    EXPECT_TRUE(Eventually([&] { return server.retriever().num_stopped() == stopped + 1; }));
    EXPECT_THAT(Ask(*channel, context, question), StatusIs(absl::StatusCode::kCancelled));  // not even sent
    EXPECT_EQ(server.retriever().num_started(), started + 1);
  }
}

TEST(ClientTest, TheParentsDeadlineEndsTheChild) {
  TestServer server;
  CallContext context;
  context.deadline = absl::Now() + absl::Milliseconds(300);
  EXPECT_THAT(Ask(*LoopbackChannel(server.port()), context, "hold"), StatusIs(absl::StatusCode::kDeadlineExceeded));
  EXPECT_TRUE(Eventually([&] { return server.parts().state.num_calls() == 0; }));
}

TEST(ClientTest, ACallThatNobodyCancelledIsNotCancelled) {
  const grpc::Status bare(grpc::StatusCode::CANCELLED, "CANCELLED");
  EXPECT_THAT(StatusOfCall({}, "asking", bare), StatusIs(absl::StatusCode::kUnavailable));
  CallContext context;
  context.cancelled = [] { return true; };
  EXPECT_THAT(StatusOfCall(context, "asking", bare), StatusIs(absl::StatusCode::kCancelled));
  const absl::Status said = errors::Cancelled("the answer");
  EXPECT_EQ(StatusOfCall({}, "asking", ToGrpcStatus(said)), said);
}

TEST(ClientTest, NobodyThereIsUnavailable) {
  int port = 0;
  { port = TestServer().port(); }
  const absl::Status status = Ask(*LoopbackChannel(port), {}, "hello");
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_EQ(ErrorReason(status), "UNAVAILABLE");
  EXPECT_FALSE(MakeChannel({.target = ""}).ok());
  EXPECT_FALSE(MakeChannel({.target = "localhost:1", .repeatable_service = "a\"b"}).ok());
}

// Two servers, one of which goes: callers of repeatable calls notice nothing.
TEST(ClientTest, RepeatableCallsGoToTheServersThatServe) {
  auto leaving = std::make_unique<TestServer>();
  TestServer staying;
  leaving->runner().SetReady(true);
  staying.runner().SetReady(true);
  ILRE_ASSERT_OK_AND_ASSIGN(
      const auto channel,
      MakeChannel({.target = absl::StrCat("ipv4:127.0.0.1:", leaving->port(), ",127.0.0.1:", staying.port()),
                   .repeatable_service = "ilre.v1.Retriever"}));
  CallContext context;
  context.deadline = absl::Now() + absl::Minutes(2);
  ASSERT_TRUE(Eventually([&] {
    EXPECT_THAT(Ask(*channel, context, "hello"), IsOk());
    return leaving->retriever().num_started() > 0 && staying.retriever().num_started() > 0;
  }));
  std::atomic<bool> gone{false};
  std::thread leave([&] {
    leaving.reset();
    gone = true;
  });
  while (!gone) EXPECT_THAT(Ask(*channel, context, "hello"), IsOk());
  leave.join();
  for (int i = 0; i < 20; ++i) EXPECT_THAT(Ask(*channel, context, "hello"), IsOk());
}

}  // namespace
}  // namespace ilre
