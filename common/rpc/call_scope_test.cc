#include "common/rpc/call_scope.h"

#include <algorithm>
#include <string>
#include <thread>

#include "absl/time/clock.h"
#include "common/base/errors.h"
#include "common/base/file.h"
#include "common/base/test_matchers.h"
#include "gtest/gtest.h"

namespace ilre {
namespace {

using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::Not;

class CallScopeTest : public ::testing::Test {
 protected:
  std::string logged_;
  Logger log_{LogLevel::kInfo, LogFormat::kText, [this](absl::string_view line) { logged_ += std::string(line); }};
  Authenticator open_door_;
  ServiceMetrics metrics_;
  ServerState state_;
  const ServerParts parts_{open_door_, metrics_, log_, state_};
};

TEST_F(CallScopeTest, RecordsACallOnce) {
  {
    CallScope scope(CallHeaders{.request_id = "my.id-1"}, "Service/Method", parts_);
    ILRE_EXPECT_OK(scope.Begin());
    EXPECT_EQ(state_.num_calls(), 1);
    EXPECT_EQ(scope.context().request_id, "my.id-1");
    EXPECT_FALSE(scope.context().ShouldStop());
    const absl::Status error = MakeError(absl::StatusCode::kNotFound, "DOCUMENT_NOT_FOUND", "no such document");
    EXPECT_EQ(scope.EndWithStatus(error), error);
    EXPECT_EQ(scope.EndWithStatus(absl::OkStatus()), error);
    EXPECT_EQ(scope.End(absl::OkStatus()).error_code(), grpc::StatusCode::NOT_FOUND);
    EXPECT_EQ(state_.num_calls(), 0);
  }
  EXPECT_THAT(metrics_.Text(), ContainsRegex("ilre_requests_total.*NOT_FOUND.* 1\n"));
  EXPECT_THAT(logged_, HasSubstr("info call method=Service/Method code=NOT_FOUND reason=DOCUMENT_NOT_FOUND"));
  EXPECT_THAT(logged_, HasSubstr("request_id=my.id-1"));
  EXPECT_EQ(std::count(logged_.begin(), logged_.end(), '\n'), 1);
}

TEST_F(CallScopeTest, ACallThatWasForgottenIsRecordedAsCancelled) {
  {
    CallScope scope(CallHeaders{}, "Service/Method", parts_);
    ILRE_EXPECT_OK(scope.Begin());
  }
  EXPECT_EQ(state_.num_calls(), 0);
  EXPECT_THAT(logged_, HasSubstr("code=CANCELLED"));
}

TEST_F(CallScopeTest, HeadersThatAreNoGoodAreReplacedOrDropped) {
  CallScope scope(CallHeaders{.request_id = "bad id\n", .traceparent = "nonsense", .tracestate = "a=b"},
                  "Service/Method", parts_);
  EXPECT_EQ(scope.context().request_id.size(), 16u);
  EXPECT_EQ(scope.context().traceparent, "");
  EXPECT_EQ(scope.context().tracestate, "");
  const std::string parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
  CallScope traced(CallHeaders{.traceparent = parent, .tracestate = "a=b"}, "Service/Method", parts_);
  EXPECT_EQ(traced.context().traceparent, parent);
  EXPECT_EQ(traced.context().tracestate, "a=b");
  traced.EndWithStatus(absl::OkStatus()).IgnoreError();
  EXPECT_THAT(logged_, HasSubstr("trace_id=0af7651916cd43dd8448eb211c80319c"));
}

TEST_F(CallScopeTest, TokensAreAskedForAndNeverLogged) {
  const std::string path = ::testing::TempDir() + "/scope_tokens." + std::to_string(getpid());
  ILRE_ASSERT_OK(WriteFileAtomically(path, "acme s3cret\n"));
  ILRE_ASSERT_OK_AND_ASSIGN(const auto authenticator, Authenticator::Open(path, log_));
  const ServerParts parts{*authenticator, metrics_, log_, state_};
  CallScope stranger(CallHeaders{.authorization = "Bearer s3cre"}, "Service/Method", parts);
  const absl::Status refused = stranger.Begin();
  EXPECT_THAT(refused, StatusIs(absl::StatusCode::kUnauthenticated));
  EXPECT_EQ(stranger.End(refused).error_code(), grpc::StatusCode::UNAUTHENTICATED);
  CallScope known(CallHeaders{.authorization = "Bearer s3cret"}, "Service/Method", parts);
  ILRE_EXPECT_OK(known.Begin());
  EXPECT_EQ(known.context().tenant, "acme");
  EXPECT_EQ(known.context().authorization, "Bearer s3cret");  // for the services behind
  EXPECT_TRUE(known.End(absl::OkStatus()).ok());
  EXPECT_THAT(logged_, HasSubstr("tenant=acme"));
  EXPECT_THAT(logged_, Not(HasSubstr("s3cre")));
}

TEST_F(CallScopeTest, ADeadlineThatIsOverIsRefusedAtOnce) {
  CallScope scope(CallHeaders{.deadline = absl::Now() - absl::Nanoseconds(1)}, "Service/Method", parts_);
  EXPECT_THAT(scope.Begin(), StatusIs(absl::StatusCode::kDeadlineExceeded));
  // What the transport cancelled because of the deadline is no cancellation.
  EXPECT_THAT(scope.EndWithStatus(errors::Cancelled("x")), StatusIs(absl::StatusCode::kDeadlineExceeded));
}

TEST_F(CallScopeTest, CancelReachesTheContextAndItsCopies) {
  CallContext copy;
  {
    CallScope scope(CallHeaders{}, "Service/Method", parts_);
    ILRE_EXPECT_OK(scope.Begin());
    copy = scope.context();
    int stops = 0;
    scope.OnStop([&] { ++stops; });
    EXPECT_FALSE(copy.ShouldStop());
    scope.Cancel();
    scope.Cancel();
    EXPECT_EQ(stops, 1);
    EXPECT_TRUE(scope.context().ShouldStop());
    EXPECT_THAT(scope.EndWithStatus(copy.Check("work")), StatusIs(absl::StatusCode::kCancelled));
  }
  EXPECT_TRUE(copy.ShouldStop());
}

TEST_F(CallScopeTest, DrainingRefusesNewCallsAndStopsTheOldOnesInTheEnd) {
  CallScope old(CallHeaders{}, "Service/Old", parts_);
  ILRE_EXPECT_OK(old.Begin());
  absl::Status told;
  old.OnStop([&] { told = old.EndWithStatus(old.context().Check("work")); });  // a callback may end the call
  state_.StartDraining();
  EXPECT_FALSE(old.context().ShouldStop());  // the grace

  CallScope fresh(CallHeaders{}, "Service/New", parts_);
  const absl::Status refused = fresh.Begin();
  EXPECT_THAT(refused, StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_EQ(ErrorReason(refused), "DRAINING");
  EXPECT_GT(DetailsOf(refused).retry_delay, absl::ZeroDuration());
  fresh.EndWithStatus(refused).IgnoreError();

  EXPECT_FALSE(state_.WaitUntilIdle(absl::Now()));
  state_.StopCalls();
  EXPECT_TRUE(old.context().ShouldStop());
  EXPECT_EQ(ErrorReason(told), "DRAINING");
  EXPECT_TRUE(state_.WaitUntilIdle(absl::InfiniteFuture()));
}

TEST_F(CallScopeTest, AnIdleServerDrainsAtOnceAndASecondSignalShortensTheWait) {
  EXPECT_TRUE(state_.WaitUntilIdle(absl::InfiniteFuture()));
  CallScope scope(CallHeaders{}, "Service/Method", parts_);
  ILRE_EXPECT_OK(scope.Begin());
  std::thread signal([this] { state_.ShortenGrace(); });
  EXPECT_FALSE(state_.WaitForGrace(absl::InfiniteFuture()));
  signal.join();
}

TEST_F(CallScopeTest, AStoppedCallRunsALateCallbackAtOnce) {
  CallScope scope(CallHeaders{}, "Service/Method", parts_);
  scope.Cancel();
  int stops = 0;
  scope.OnStop([&] { ++stops; });
  EXPECT_EQ(stops, 1);
}

}  // namespace
}  // namespace ilre
