#include "cli/serve/http_stream.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "cli/serve/http_call.h"
#include "common/base/errors.h"
#include "common/rpc/bounded_http.h"
#include "common/rpc/rpc_errors.h"
#include "common/rpc/status_conversion.h"

namespace ilre::cli {
namespace {

constexpr size_t kMaxWaitingLines = 16;                   // that the client has not read
constexpr absl::Duration kLook = absl::Milliseconds(50);  // how often a quiet connection is looked at
constexpr absl::Duration kWritePatience = absl::Seconds(60);

}  // namespace

void LineStream::Start(const CallHeaders& headers, absl::string_view method, const ServerParts& parts,
                       Executor& executor, absl::string_view what, Body body, httplib::Response& response) {
  const auto stream = std::make_shared<LineStream>(headers, method, parts, std::move(body));
  const std::string request_id = stream->scope_.context().request_id;
  absl::Status status = stream->scope_.Begin();
  if (status.ok() && !executor.TrySubmit(stream->scope_.context().tenant, [stream] { stream->Run(); })) {
    status = errors::Overloaded(what);
  }
  if (!status.ok()) return AnswerError(stream->scope_.EndWithStatus(status), request_id, response);
  if (!stream->AwaitFirst()) {
    stream->Leave();
    return AnswerError(errors::Cancelled("the request"), request_id, response);  // to nobody
  }
  {
    absl::MutexLock lock(&stream->mutex_);
    if (stream->done_ && stream->lines_.empty() && !stream->status_.ok()) {
      return AnswerError(stream->status_, request_id, response);
    }
  }
  SetSecurityHeaders(response);
  response.set_header("x-request-id", request_id);
  response.set_header("X-Accel-Buffering", "no");  // proxies shall pass lines on as they come
  response.status = 200;
  response.set_chunked_content_provider(
      "application/x-ndjson", [stream](size_t, httplib::DataSink& sink) { return stream->Send(sink); },
      [stream](bool success) {
        if (!success) stream->scope_.Cancel();
      });
}

void LineStream::Run() {
  {
    absl::MutexLock lock(&mutex_);
    if (left_) return;
    begun_ = true;
  }
  absl::Status status = scope_.context().Check("the request");  // it may have waited for long
  if (status.ok()) {
    status = body_(scope_.context(), [this](const google::protobuf::Message& message) { return Push(message); });
  }
  status = scope_.EndWithStatus(status);
  absl::MutexLock lock(&mutex_);
  status_ = status;
  done_ = true;
}

absl::Status LineStream::Push(const google::protobuf::Message& message) {
  std::string line = ToJson(message) + "\n";
  const absl::Time give_up = absl::Now() + kWritePatience;
  absl::MutexLock lock(&mutex_);
  const auto has_room = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return lines_.size() < kMaxWaitingLines; };
  while (!mutex_.AwaitWithTimeout(absl::Condition(&has_room), kLook)) {
    if (absl::Status status = scope_.context().Check("sending the answer"); !status.ok()) return status;
    if (absl::Now() > give_up) return errors::Cancelled("sending the answer to a client that does not read");
  }
  lines_.push_back(std::move(line));
  return absl::OkStatus();
}

bool LineStream::AwaitFirst() {
  absl::MutexLock lock(&mutex_);
  const auto has_news = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return done_ || !lines_.empty(); };
  while (!mutex_.AwaitWithTimeout(absl::Condition(&has_news), kLook)) {
    if (ClientHasHungUp()) return false;
  }
  return true;
}

void LineStream::Leave() {
  scope_.Cancel();
  {
    absl::MutexLock lock(&mutex_);
    left_ = !begun_;
    if (begun_) return;
  }
  (void)scope_.EndWithStatus(errors::Cancelled("the request"));
}

bool LineStream::Send(httplib::DataSink& sink) {
  std::string text;
  bool done = false;
  {
    absl::MutexLock lock(&mutex_);
    const auto has_news = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return done_ || !lines_.empty(); };
    mutex_.AwaitWithTimeout(absl::Condition(&has_news), kLook);
    for (std::string& line : lines_) text += line;
    lines_.clear();
    done = done_;
    if (done && !status_.ok()) {
      absl::StrAppend(&text, "{\"error\":", ToJson(ToRpcStatus(status_, scope_.context().request_id)), "}\n");
    }
  }
  const bool sent = sink.is_writable() && (text.empty() || sink.write(text.data(), text.size()));
  if (sent && done) sink.done();
  if (!sent) scope_.Cancel();
  return sent;
}

}  // namespace ilre::cli
