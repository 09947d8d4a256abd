// An answer that is streamed over HTTP: made on an executor, sent by the connection's thread.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "common/rpc/call_scope.h"
#include "common/rpc/executor.h"
#include "google/protobuf/message.h"
#include "httplib.h"

namespace ilre::cli {

// Shared by both threads: it lives until both are done with it.
class LineStream {
 public:
  using Write = std::function<absl::Status(const google::protobuf::Message&)>;
  using Body = std::function<absl::Status(const CallContext&, const Write&)>;

  // Runs `body` on the executor and sends each message that it writes as a line of JSON. Fills `response`: with an
  // error where the body fails before it has written anything; after the first line the error is the last one. A client
  // that hangs up (ClientHasHungUp) ends the work, whether it waits or runs. `method` and `what` as of UnaryCall;
  // `parts` and `executor` must outlive the call.
  static void Start(const CallHeaders& headers, absl::string_view method, const ServerParts& parts, Executor& executor,
                    absl::string_view what, Body body, httplib::Response& response);

  LineStream(const CallHeaders& headers, absl::string_view method, const ServerParts& parts, Body body)
      : scope_(headers, method, parts), body_(std::move(body)) {}

 private:
  void Run();
  absl::Status Push(const google::protobuf::Message& message);
  // Waits for the first line or the end; false: the client has gone.
  bool AwaitFirst();
  // After it has gone: a body that has not begun never will, and its call is over.
  void Leave();
  // Sends what there is; false: the client is gone.
  bool Send(httplib::DataSink& sink);

  CallScope scope_;
  const Body body_;
  absl::Mutex mutex_;
  std::deque<std::string> lines_ ABSL_GUARDED_BY(mutex_);
  bool begun_ ABSL_GUARDED_BY(mutex_) = false, left_ ABSL_GUARDED_BY(mutex_) = false;
  bool done_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status status_ ABSL_GUARDED_BY(mutex_);  // once done
};

}  // namespace ilre::cli
