#include "common/rpc/test_server.h"

#include <grpcpp/create_channel.h>

#include <cstdio>
#include <string>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/base/check.h"
#include "common/base/errors.h"
#include "common/rpc/rpc_errors.h"

namespace ilre {
namespace {

// A service's reactor as the real ones are.
class RetrieveReactor : public grpc::ServerUnaryReactor {
 public:
  RetrieveReactor(TestRetriever& retriever, grpc::CallbackServerContext* context, const std::string& question)
      : retriever_(retriever), question_(question), scope_(context, "ilre.v1.Retriever/Retrieve", retriever.parts_) {
    if (absl::Status status = scope_.Begin(); !status.ok()) {
      Finish(scope_.End(status));
      return;
    }
    ++retriever_.num_started_;
    if (question_ == "idle") {
      scope_.OnStop([this] {
        ++retriever_.num_stopped_;
        Finish(scope_.End(errors::Cancelled("idling")));
      });
      return;
    }
    const bool taken = retriever_.executor_.TrySubmit(
        scope_.context().tenant, [this] { Finish(scope_.End(retriever_.Answer(scope_.context(), question_))); });
    if (!taken) Finish(scope_.End(errors::Overloaded("questions")));
  }

  void OnCancel() override { scope_.Cancel(); }
  void OnDone() override { delete this; }

 private:
  TestRetriever& retriever_;
  const std::string question_;
  CallScope scope_;
};

}  // namespace

grpc::ServerUnaryReactor* TestRetriever::Retrieve(grpc::CallbackServerContext* context,
                                                  const v1::RetrieveRequest* request, v1::RetrieveResponse*) {
  return new RetrieveReactor(*this, context, request->question());
}

absl::Status TestRetriever::Answer(const CallContext& context, const std::string& question) {
  if (question == "hello") return absl::OkStatus();
  if (question == "hold") {
    while (!released_) {
      if (absl::Status status = context.Check("holding"); !status.ok()) {
        ++num_stopped_;
        return status;
      }
      absl::SleepFor(absl::Milliseconds(1));
    }
    return absl::OkStatus();
  }
  absl::Status error = WithField(errors::InvalidArgument("as asked for"), "question");
  if (question != "context") return error;
  error = WithMetadata(error, "tenant", context.tenant);
  error = WithMetadata(error, "request_id", context.request_id);
  error = WithMetadata(error, "traceparent", context.traceparent);
  error = WithMetadata(error, "tracestate", context.tracestate);
  error = WithMetadata(error, "authorization", context.authorization);
  const bool has_deadline = context.deadline != absl::InfiniteFuture();
  return WithMetadata(error, "seconds_left",
                      has_deadline ? absl::StrCat(absl::ToInt64Seconds(context.deadline - absl::Now())) : "");
}

TestServer::TestServer(ServerOptions options, const HttpServer::Mount& mount)
    : executor_({.num_threads = 4, .max_waiting = 16}) {
  if (options.listen == ServerOptions().listen) options.listen = "127.0.0.1:0";
  if (options.http_listen == ServerOptions().http_listen) options.http_listen = "127.0.0.1:0";
  options.log_level = LogLevel::kError;
  auto common = ServerCommon::Create(options);
  if (!common.ok()) std::fprintf(stderr, "%s\n", common.status().ToString().c_str());
  ILRE_CHECK(common.ok());
  common_ = *std::move(common);
  retriever_ = std::make_unique<TestRetriever>(common_->parts(), executor_);
  auto runner =
      ServerRunner::Start(options, common_->parts(), {{v1::Retriever::service_full_name(), retriever_.get()}}, mount);
  if (!runner.ok()) std::fprintf(stderr, "%s\n", runner.status().ToString().c_str());
  ILRE_CHECK(runner.ok());
  runner_ = *std::move(runner);
}

TestServer::~TestServer() { runner_->Shutdown(absl::ZeroDuration()); }

int TestServer::port() const {
  const std::string& address = runner_->address();
  int port = 0;
  ILRE_CHECK(absl::SimpleAtoi(address.substr(address.rfind(':') + 1), &port));
  return port;
}

void TestServer::WaitForStarted(int count) {
  ILRE_CHECK(Eventually([&] { return retriever_->num_started() >= count; }));
}

bool Eventually(const std::function<bool()>& condition) {
  const absl::Time deadline = absl::Now() + absl::Minutes(1);
  while (!condition()) {
    if (absl::Now() >= deadline) return false;
    absl::SleepFor(absl::Milliseconds(2));
  }
  return true;
}

absl::Status Ask(grpc::Channel& channel, const CallContext& context, const std::string& question) {
  const std::shared_ptr<grpc::Channel> alias(std::shared_ptr<grpc::Channel>(), &channel);
  const std::unique_ptr<v1::Retriever::Stub> stub = v1::Retriever::NewStub(alias);
  v1::RetrieveRequest request;
  v1::RetrieveResponse response;
  request.set_question(question);
  return CallAndWait(context, "asking", [&](grpc::ClientContext* client, std::function<void(grpc::Status)> done) {
    stub->async()->Retrieve(client, &request, &response, std::move(done));
  });
}

std::shared_ptr<grpc::Channel> LoopbackChannel(int port) {
  auto channel = MakeChannel({.target = absl::StrCat("127.0.0.1:", port)});
  ILRE_CHECK(channel.ok());
  return *std::move(channel);
}

}  // namespace ilre
