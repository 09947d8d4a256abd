#include "common/rpc/server_runner.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/generic/generic_stub.h>
#include <httplib.h>
#include <signal.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/base/errors.h"
#include "common/base/test_matchers.h"
#include "common/rpc/test_server.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "gtest/gtest.h"

namespace ilre {
namespace {

using ::testing::HasSubstr;
using Health = grpc::health::v1::Health;
using grpc::health::v1::HealthCheckRequest;
using grpc::health::v1::HealthCheckResponse;

constexpr char kService[] = "ilre.v1.Retriever";

// A call that is made on a thread of its own.
class Asking {
 public:
  Asking(int port, const std::string& question, CallContext context = {})
      : channel_(LoopbackChannel(port)),
        thread_([this, question, context] { status_ = Ask(*channel_, context, question); }) {}
  ~Asking() {
    if (thread_.joinable()) thread_.join();
  }
  absl::Status Result() {
    if (thread_.joinable()) thread_.join();
    return status_;
  }

 private:
  const std::shared_ptr<grpc::Channel> channel_;
  absl::Status status_;
  std::thread thread_;
};

// NOT_SERVING and so on; UNKNOWN where the server says NOT_FOUND.
HealthCheckResponse::ServingStatus HealthOf(int port, const std::string& service) {
  const auto stub = Health::NewStub(LoopbackChannel(port));
  grpc::ClientContext context;
  HealthCheckRequest request;
  HealthCheckResponse response;
  request.set_service(service);
  const grpc::Status status = stub->Check(&context, request, &response);
  EXPECT_TRUE(status.ok() || status.error_code() == grpc::StatusCode::NOT_FOUND) << status.error_message();
  return status.ok() ? response.status() : HealthCheckResponse::UNKNOWN;
}

int ReadyzOf(const ServerRunner& runner) {
  httplib::Client client("http://" + runner.http_address());
  const httplib::Result result = client.Get("/readyz");
  return result ? result->status : -1;
}

TEST(ServerRunnerTest, HealthFollowsReadiness) {
  TestServer server;
  EXPECT_EQ(HealthOf(server.port(), ""), HealthCheckResponse::NOT_SERVING);
  EXPECT_EQ(HealthOf(server.port(), kService), HealthCheckResponse::NOT_SERVING);
  EXPECT_EQ(HealthOf(server.port(), "ilre.v1.Other"), HealthCheckResponse::UNKNOWN);
  EXPECT_EQ(ReadyzOf(server.runner()), 503);
  server.runner().SetReady(true);
  EXPECT_EQ(HealthOf(server.port(), ""), HealthCheckResponse::SERVING);
  EXPECT_EQ(HealthOf(server.port(), kService), HealthCheckResponse::SERVING);
  EXPECT_EQ(ReadyzOf(server.runner()), 200);
  server.runner().SetReady(false);
  EXPECT_EQ(HealthOf(server.port(), kService), HealthCheckResponse::NOT_SERVING);
  EXPECT_EQ(ReadyzOf(server.runner()), 503);
}

TEST(ServerRunnerTest, WatchersHearOfItAndDoNotHoldUpTheEnd) {
  TestServer server;
  const auto stub = Health::NewStub(LoopbackChannel(server.port()));
  grpc::ClientContext context;
  HealthCheckRequest request;
  request.set_service(kService);
  const auto reader = stub->Watch(&context, request);
  HealthCheckResponse response;
  ASSERT_TRUE(reader->Read(&response));
  EXPECT_EQ(response.status(), HealthCheckResponse::NOT_SERVING);
  server.runner().SetReady(true);
  ASSERT_TRUE(reader->Read(&response));
  EXPECT_EQ(response.status(), HealthCheckResponse::SERVING);
  std::thread shutdown([&] { server.runner().Shutdown(absl::Hours(1)); });
  ASSERT_TRUE(reader->Read(&response));
  EXPECT_EQ(response.status(), HealthCheckResponse::NOT_SERVING);
  shutdown.join();  // at once: no call but this one
  EXPECT_FALSE(reader->Read(&response));
}

// As a client without this project's protos: the bytes of ServerReflectionRequest{list_services: ""}.
TEST(ServerRunnerTest, ReflectionNamesTheServices) {
  TestServer server;
  grpc::GenericStub stub(LoopbackChannel(server.port()));
  grpc::ClientContext context;
  grpc::CompletionQueue queue;
  const auto next = [&queue] {
    void* tag = nullptr;
    bool ok = false;
    return queue.Next(&tag, &ok) && ok;
  };
  const auto call =
      stub.PrepareCall(&context, "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", &queue);
  call->StartCall(nullptr);
  ASSERT_TRUE(next());
  const grpc::Slice request(std::string("\x3a\x00", 2));
  call->Write(grpc::ByteBuffer(&request, 1), nullptr);
  ASSERT_TRUE(next());
  grpc::ByteBuffer response;
  call->Read(&response, nullptr);
  ASSERT_TRUE(next());
  grpc::Slice slice;
  ASSERT_TRUE(response.DumpToSingleSlice(&slice).ok());
  const std::string bytes(reinterpret_cast<const char*>(slice.begin()), slice.size());
  EXPECT_THAT(bytes, HasSubstr(kService));
  EXPECT_THAT(bytes, HasSubstr("grpc.health.v1.Health"));
  context.TryCancel();
  grpc::Status status;
  call->Finish(&status, nullptr);
  next();
  queue.Shutdown();
  while (next()) {
  }
}

TEST(ServerRunnerTest, AnswersCarryTheRequestsId) {
  TestServer server;
  const auto stub = v1::Retriever::NewStub(LoopbackChannel(server.port()));
  for (const std::string& id : {std::string("given.id_1-x"), std::string()}) {
    grpc::ClientContext context;
    if (!id.empty()) context.AddMetadata("x-request-id", id);
    v1::RetrieveRequest request;
    v1::RetrieveResponse response;
    request.set_question("hello");
    ASSERT_TRUE(stub->Retrieve(&context, request, &response).ok());
    const auto header = context.GetServerInitialMetadata().find("x-request-id");
    ASSERT_NE(header, context.GetServerInitialMetadata().end());
    const std::string got(header->second.data(), header->second.size());
    EXPECT_EQ(got.size(), id.empty() ? 16u : id.size());
    if (!id.empty()) {
      EXPECT_EQ(got, id);
    }
  }
}

TEST(ServerRunnerTest, ADeadlineThatIsOverIsNotWorkedOn) {
  TestServer server;
  for (const absl::Duration left : {absl::Nanoseconds(1), -absl::Hours(1)}) {
    grpc::ClientContext context;
    context.set_deadline(absl::ToChronoTime(absl::Now() + left));
    v1::RetrieveRequest request;
    v1::RetrieveResponse response;
    request.set_question("hold");
    const auto stub = v1::Retriever::NewStub(LoopbackChannel(server.port()));
    EXPECT_EQ(stub->Retrieve(&context, request, &response).error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  }
  EXPECT_TRUE(Eventually([&] { return server.parts().state.num_calls() == 0; }));
}

TEST(ServerRunnerTest, MessagesHaveALimit) {
  TestServer server;
  const auto channel = LoopbackChannel(server.port());
  EXPECT_THAT(Ask(*channel, {}, std::string(5 << 20, 'x')), StatusIs(absl::StatusCode::kResourceExhausted));
  ILRE_EXPECT_OK(Ask(*channel, {}, "hello"));
}

TEST(ServerRunnerTest, WorkInFlightEndsWithinTheGrace) {
  TestServer server;
  server.runner().SetReady(true);
  Asking holding(server.port(), "hold");
  server.WaitForStarted(1);
  std::thread shutdown([&] { server.runner().Shutdown(absl::Hours(1)); });
  ASSERT_TRUE(Eventually([&] { return server.parts().state.draining(); }));
  EXPECT_EQ(HealthOf(server.port(), kService), HealthCheckResponse::NOT_SERVING);
  EXPECT_EQ(ReadyzOf(server.runner()), 503);
  const absl::Status refused = Asking(server.port(), "hello").Result();
  EXPECT_THAT(refused, StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_EQ(ErrorReason(refused), "DRAINING");
  EXPECT_GT(DetailsOf(refused).retry_delay, absl::ZeroDuration());
  server.retriever().Release();
  ILRE_EXPECT_OK(holding.Result());
  shutdown.join();
  EXPECT_EQ(server.retriever().num_stopped(), 0);
}

TEST(ServerRunnerTest, WorkThatDoesNotEndIsStoppedAndSaysWhy) {
  TestServer server;
  Asking holding(server.port(), "hold"), idling(server.port(), "idle");
  server.WaitForStarted(2);
  server.runner().Shutdown(absl::Milliseconds(50));
  for (Asking* call : {&holding, &idling}) {
    const absl::Status status = call->Result();
    EXPECT_THAT(status, StatusIs(absl::StatusCode::kUnavailable));
    EXPECT_EQ(ErrorReason(status), "DRAINING");
  }
  EXPECT_EQ(server.retriever().num_stopped(), 2);
}

TEST(ServerRunnerTest, TheGraceCanBeShortened) {
  TestServer server;
  Asking holding(server.port(), "hold");
  server.WaitForStarted(1);
  std::thread shutdown([&] { server.runner().Shutdown(absl::Hours(1)); });
  ASSERT_TRUE(Eventually([&] { return server.parts().state.draining(); }));
  server.runner().ShortenGrace();
  shutdown.join();
  EXPECT_EQ(ErrorReason(holding.Result()), "DRAINING");
}

TEST(ServerRunnerTest, AClientThatGoesAwayStopsItsCall) {
  TestServer server;
  const auto stub = v1::Retriever::NewStub(LoopbackChannel(server.port()));
  for (const std::string question : {"hold", "idle"}) {
    const int started = server.retriever().num_started(), stopped = server.retriever().num_stopped();
    grpc::ClientContext context;
    v1::RetrieveRequest request;
    v1::RetrieveResponse response;
    request.set_question(question);
    std::thread call(
        [&] { EXPECT_EQ(stub->Retrieve(&context, request, &response).error_code(), grpc::StatusCode::CANCELLED); });
    server.WaitForStarted(started + 1);
    context.TryCancel();
    call.join();
    EXPECT_TRUE(Eventually([&] { return server.retriever().num_stopped() == stopped + 1; })) << question;
  }
  EXPECT_TRUE(Eventually([&] { return server.parts().state.num_calls() == 0; }));
}

TEST(ServerRunnerTest, ASecondServerOnAPortIsRefusedWithOneClearError) {
  TestServer server;
  ServerOptions options;
  options.listen = server.runner().address();
  options.http_listen = "";
  options.log_level = LogLevel::kError;
  ILRE_ASSERT_OK_AND_ASSIGN(const auto common, ServerCommon::Create(options));
  const auto grpc_taken = ServerRunner::Start(options, common->parts(), {});
  EXPECT_THAT(grpc_taken, StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("--listen: cannot listen on 127")));
  EXPECT_THAT(grpc_taken, StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("Address already in use")));
  EXPECT_EQ(ErrorReason(grpc_taken.status()), "CANNOT_LISTEN");
  options.listen = "127.0.0.1:0";
  options.http_listen = server.runner().http_address();
  EXPECT_THAT(ServerRunner::Start(options, common->parts(), {}),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("--http-listen: cannot listen on")));
  options.http_listen = "host.invalid:1";
  EXPECT_THAT(ServerRunner::Start(options, common->parts(), {}), StatusIs(absl::StatusCode::kFailedPrecondition));
}

// Callers come and go while the server is told to end: for the sanitizers, and nobody hangs.
TEST(ServerRunnerTest, EndingUnderLoadLeavesNobodyHanging) {
  TestServer server;
  std::atomic<int> answered{0}, odd{0};
  std::vector<std::thread> callers;
  for (int i = 0; i < 6; ++i) {
    callers.emplace_back([&, i] {
      const auto channel = LoopbackChannel(server.port());
      while (true) {
        CallContext context;
        context.deadline = absl::Now() + absl::Milliseconds(i % 2 == 0 ? 60'000 : 5);
        const absl::Status status = Ask(*channel, context, i % 3 == 0 ? "hold" : i % 3 == 1 ? "idle" : "hello");
        ++answered;
        if (status.code() == absl::StatusCode::kUnavailable) return;
        if (!status.ok() && status.code() != absl::StatusCode::kDeadlineExceeded &&
            status.code() != absl::StatusCode::kResourceExhausted) {
          ++odd;
          ADD_FAILURE() << status;
          return;
        }
      }
    });
  }
  ASSERT_TRUE(Eventually([&] { return answered > 100; }));
  server.runner().Shutdown(absl::Milliseconds(20));
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(odd, 0);
  EXPECT_EQ(server.parts().state.num_calls(), 0);
}

// In a process of its own. Exit status 0 if everything went as it should.
void EndBySignals() {
  BlockSignals();
  ServerOptions options;
  options.drain_seconds = 3600;
  TestServer server(options);
  server.runner().SetReady(true);
  Asking holding(server.port(), "hold");
  server.WaitForStarted(1);
  kill(getpid(), SIGTERM);
  std::thread second([&] {
    if (Eventually([&] { return server.parts().state.draining(); })) kill(getpid(), SIGINT);
  });
  server.runner().RunUntilSignal();
  second.join();
  const bool as_it_should = ErrorReason(holding.Result()) == "DRAINING" && !server.parts().state.ready();
  std::_Exit(as_it_should ? 0 : 1);
}

TEST(ServerRunnerDeathTest, SignalsDrainAndASecondOneEndsTheGrace) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");  // a fresh process: this one has threads that do not block signals
  EXPECT_EXIT(EndBySignals(), ::testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace ilre
