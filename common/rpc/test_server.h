// A server with a Retriever that does what its question says, for tests of everything around a service.
#pragma once

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>

#include "common/rpc/call_scope.h"
#include "common/rpc/client.h"
#include "common/rpc/executor.h"
#include "common/rpc/server_runner.h"
#include "ilre/v1/retriever.grpc.pb.h"

namespace ilre {

// Questions: "hello" is answered; "hold" waits for Release, looking at its context; "idle" waits without looking, for
// OnStop; "fail" gives an error with all its details; "context" gives the context back as that error's metadata.
class TestRetriever : public v1::Retriever::CallbackService {
 public:
  TestRetriever(const ServerParts& parts, Executor& executor) : parts_(parts), executor_(executor) {}

  grpc::ServerUnaryReactor* Retrieve(grpc::CallbackServerContext* context, const v1::RetrieveRequest* request,
                                     v1::RetrieveResponse* response) override;

  void Release() { released_ = true; }
  int num_started() const { return num_started_; }  // calls that were admitted
  int num_stopped() const { return num_stopped_; }  // calls that saw that they should stop

  absl::Status Answer(const CallContext& context, const std::string& question);

  const ServerParts parts_;
  Executor& executor_;
  std::atomic<bool> released_{false};
  std::atomic<int> num_started_{0}, num_stopped_{0};
};

// All of it together on free ports of the loopback interface.
class TestServer {
 public:
  explicit TestServer(ServerOptions options = {}, const HttpServer::Mount& mount = nullptr);
  ~TestServer();

  TestRetriever& retriever() { return *retriever_; }
  ServerRunner& runner() { return *runner_; }
  ServerParts parts() { return common_->parts(); }
  int port() const;

  // Waits until so many calls were admitted.
  void WaitForStarted(int count);

 private:
  std::unique_ptr<ServerCommon> common_;
  Executor executor_;
  std::unique_ptr<TestRetriever> retriever_;
  std::unique_ptr<ServerRunner> runner_;
};

// Polls until `condition` holds; false after a minute, which fails a test without making it depend on speed.
bool Eventually(const std::function<bool()>& condition);

// One call of Retrieve with `question`.
absl::Status Ask(grpc::Channel& channel, const CallContext& context, const std::string& question);
// A channel without TLS to a port of the loopback interface.
std::shared_ptr<grpc::Channel> LoopbackChannel(int port);

}  // namespace ilre
