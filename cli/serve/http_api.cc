#include "cli/serve/http_api.h"

#include <atomic>
#include <functional>
#include <limits>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "cli/serve/http_call.h"
#include "cli/serve/http_ingest.h"
#include "cli/serve/http_stream.h"
#include "cli/serve/page.h"
#include "common/base/errors.h"
#include "common/base/status_macros.h"
#include "common/rpc/bounded_http.h"
#include "common/rpc/rpc_errors.h"
#include "encoder_service/ingest_slots.h"
#include "generator_service/generator_service.h"
#include "google/protobuf/empty.pb.h"
#include "google/protobuf/util/time_util.h"
#include "ilre/v1/encoder.pb.h"
#include "ilre/v1/generator.pb.h"
#include "ilre/v1/retriever.pb.h"

namespace ilre::cli {
namespace {

constexpr time_t kPatienceSeconds = 30;                   // with a client that stops sending or reading
constexpr absl::Duration kLook = absl::Milliseconds(50);  // how often it is asked whether a client is still there

// A task that runs on an executor for a connection's thread, which waits for it.
class AwaitedTask {
 public:
  // Of the executor: whether the task is still wanted. If so, it has to end with Done.
  bool Begin() { return Change(kRunning); }
  void Done() { done_.Notify(); }

  // Of the connection's thread: true when the task is done. When the client hangs up, `cancel` is called, and false
  // returned if the task has not begun: it never will.
  bool Await(const std::function<void()>& cancel) {
    for (bool is_there = true; !done_.WaitForNotificationWithTimeout(kLook);) {
      if (!is_there || !ClientHasHungUp()) continue;
      is_there = false;
      cancel();
      if (Change(kLeft)) return false;
    }
    return true;
  }

 private:
  enum State { kWaiting, kRunning, kLeft };
  bool Change(State to) {
    State expected = kWaiting;
    return state_.compare_exchange_strong(expected, to);
  }

  std::atomic<State> state_ = kWaiting;
  absl::Notification done_;
};

std::string CollectionName(const httplib::Request& request) {
  return absl::StrCat("collections/", request.matches[1].str());
}

std::string DocumentName(const httplib::Request& request) {
  return absl::StrCat(CollectionName(request), "/documents/", request.matches[2].str());
}

absl::StatusOr<UploadRequest> ParseUpload(const httplib::Request& request) {
  ILRE_RETURN_IF_ERROR(CheckParameters(request, {"replace", "append", "offset", "finish", "expire_time"}));
  UploadRequest upload;
  v1::IngestDocumentRequest& first = upload.first;
  first.set_name(DocumentName(request));
  ILRE_ASSIGN_OR_RETURN(const int64_t offset, IntParameter(request, "offset", 0));
  first.set_write_offset(offset);
  ILRE_ASSIGN_OR_RETURN(upload.finish, BoolParameter(request, "finish", true));
  ILRE_ASSIGN_OR_RETURN(const bool replace, BoolParameter(request, "replace", false));
  ILRE_ASSIGN_OR_RETURN(const bool append, BoolParameter(request, "append", false));
  first.mutable_options()->set_replace(replace);
  first.mutable_options()->set_append(append);
  if (request.has_param("expire_time") &&
      !google::protobuf::util::TimeUtil::FromString(request.get_param_value("expire_time"),
                                                    first.mutable_options()->mutable_expire_time())) {
    return errors::InvalidField("expire_time", "not a time like 2030-01-31T12:00:00Z");
  }
  return upload;
}

void AnswerUnknown(httplib::Response& response) {
  AnswerError(MakeError(absl::StatusCode::kNotFound, "NO_SUCH_METHOD", "there is no such method at this path"), "",
              response);
}

absl::Status ReadJson(const httplib::Request& request, const httplib::ContentReader& reader,
                      google::protobuf::Message* message) {
  ILRE_ASSIGN_OR_RETURN(const std::string body, ReadBody(request, reader, HttpApiOptions::kMaxJsonBytes));
  ILRE_RETURN_IF_ERROR(CheckParameters(request, {}));
  return FromJson(body, message);
}

}  // namespace

class HttpApi::Impl {
 public:
  Impl(const HttpApiParts& parts, const HttpApiOptions& options)
      : parts_(parts),
        options_(options),
        loopback_only_(IsLoopback(options.listen_host)),
        slots_(options.max_ingests) {}

  void Mount(httplib::Server& server);

 private:
  using Request = httplib::Request;
  using Response = httplib::Response;
  using Reader = httplib::ContentReader;
  // What is wrong with a request's body is for its client alone: work begins with it, after the token was checked.
  using Work = std::function<absl::Status(const CallContext&)>;
  using BodyRoute = void (Impl::*)(const Request&, const Reader&, Response&);

  // Runs a blocking piece of work on an executor, and answers with `message`, which it fills. A client that hangs up
  // ends the work, whether it waits or runs.
  void Unary(const Request& request, Response& response, absl::string_view method, Executor& executor,
             absl::string_view what, google::protobuf::Message* message, const Work& work);
  // Refuses what CheckOrigin refuses; else calls the route.
  void Guard(const Request& request, Response& response, const std::function<void()>& route);
  void Post(httplib::Server& server, const char* pattern, BodyRoute route);

  void List(const Request& request, Response& response);
  void Get(const Request& request, Response& response);
  void Status(const Request& request, Response& response);
  void Delete(const Request& request, Response& response);
  void Ingest(const Request& request, const Reader& reader, Response& response);
  void Text(const Request& request, const Reader& reader, Response& response);
  void Retrieve(const Request& request, const Reader& reader, Response& response);
  void Score(const Request& request, const Reader& reader, Response& response);
  void Generate(const Request& request, const Reader& reader, Response& response);

  const HttpApiParts parts_;
  const HttpApiOptions options_;
  const bool loopback_only_;
  IngestSlots slots_;
};

void HttpApi::Impl::Guard(const Request& request, Response& response, const std::function<void()>& route) {
  const absl::Status status = CheckOrigin(request, loopback_only_);
  if (!status.ok()) return AnswerError(status, "", response);
  route();
}

void HttpApi::Impl::Unary(const Request& request, Response& response, absl::string_view method, Executor& executor,
                          absl::string_view what, google::protobuf::Message* message, const Work& work) {
  CallScope scope(HeadersOf(request, options_.request_timeout), method, parts_.server);
  absl::Status status = scope.Begin();
  if (status.ok()) {
    const auto task = std::make_shared<AwaitedTask>();
    const bool taken = executor.TrySubmit(scope.context().tenant, [&, task] {
      if (!task->Begin()) return;                     // what else is captured may be gone
      status = scope.context().Check("the request");  // it may have waited for long
      if (status.ok()) status = work(scope.context());
      task->Done();
    });
    if (!taken) {
      status = errors::Overloaded(what);
    } else if (!task->Await([&] { scope.Cancel(); })) {
      status = errors::Cancelled("the request");
    }
  }
  status = scope.EndWithStatus(status);
  if (!status.ok()) return AnswerError(status, scope.context().request_id, response);
  Answer(*message, scope.context(), response);
}

void HttpApi::Impl::List(const Request& request, Response& response) {
  v1::ListDocumentsRequest list;
  v1::ListDocumentsResponse page;
  Unary(request, response, "ilre.v1.Encoder/ListDocuments", parts_.requests, "requests", &page,
        [&](const CallContext& context) -> absl::Status {
          ILRE_RETURN_IF_ERROR(CheckParameters(request, {"page_size", "page_token"}));
          ILRE_ASSIGN_OR_RETURN(const int64_t page_size, IntParameter(request, "page_size", 0));
          if (page_size < 0 || page_size > 1 << 30) return errors::InvalidField("page_size", "out of range");
          list.set_parent(CollectionName(request));
          list.set_page_size(static_cast<int32_t>(page_size));
          list.set_page_token(request.get_param_value("page_token"));
          return parts_.encoder.ListDocuments(context, list, &page);
        });
}

void HttpApi::Impl::Get(const Request& request, Response& response) {
  v1::Document document;
  Unary(request, response, "ilre.v1.Encoder/GetDocument", parts_.requests, "requests", &document,
        [&](const CallContext& context) -> absl::Status {
          ILRE_RETURN_IF_ERROR(CheckParameters(request, {}));
          v1::GetDocumentRequest get;
          get.set_name(DocumentName(request));
          return parts_.encoder.GetDocument(context, get, &document);
        });
}

void HttpApi::Impl::Status(const Request& request, Response& response) {
  v1::IngestProgress progress;
  Unary(request, response, "ilre.v1.Encoder/GetIngestStatus", parts_.requests, "requests", &progress,
        [&](const CallContext& context) -> absl::Status {
          ILRE_RETURN_IF_ERROR(CheckParameters(request, {}));
          v1::GetIngestStatusRequest get;
          get.set_name(DocumentName(request));
          return parts_.encoder.GetIngestStatus(context, get, &progress);
        });
}

void HttpApi::Impl::Delete(const Request& request, Response& response) {
  google::protobuf::Empty empty;
  Unary(request, response, "ilre.v1.Encoder/DeleteDocument", parts_.requests, "requests", &empty,
        [&](const CallContext& context) -> absl::Status {
          ILRE_RETURN_IF_ERROR(CheckParameters(request, {"etag", "allow_missing"}));
          v1::DeleteDocumentRequest remove;
          remove.set_name(DocumentName(request));
          remove.set_etag(request.get_param_value("etag"));
          ILRE_ASSIGN_OR_RETURN(const bool allow_missing, BoolParameter(request, "allow_missing", false));
          remove.set_allow_missing(allow_missing);
          return parts_.encoder.DeleteDocument(context, remove);
        });
}

void HttpApi::Impl::Ingest(const Request& request, const Reader& reader, Response& response) {
  CallScope scope(HeadersOf(request, absl::InfiniteDuration()), "ilre.v1.Encoder/IngestDocument", parts_.server);
  const std::string& tenant = scope.context().tenant;
  v1::IngestProgress last;
  bool took_body = false;
  const auto upload = [&]() -> absl::Status {
    ILRE_RETURN_IF_ERROR(scope.Begin());
    ILRE_ASSIGN_OR_RETURN(const UploadRequest upload, ParseUpload(request));
    if (!slots_.TryTake(tenant)) return errors::Overloaded("ingests");
    took_body = true;
    const absl::Status status =
        Upload(upload, request, reader, scope, parts_.encoder, parts_.ingests, parts_.server.metrics, &last);
    slots_.GiveBack(tenant);
    return status;
  };
  const absl::Status status = scope.EndWithStatus(upload());
  if (!took_body) DiscardBody(request, reader);
  if (!status.ok()) return AnswerError(status, scope.context().request_id, response);
  Answer(last, scope.context(), response);
}

void HttpApi::Impl::Text(const Request& request, const Reader& reader, Response& response) {
  v1::ReadTextRequest read;
  v1::ReadTextResponse text;
  const absl::Status parsed = ReadJson(request, reader, &read);
  read.set_name(DocumentName(request));
  Unary(request, response, "ilre.v1.Retriever/ReadText", parts_.questions, "questions", &text,
        [&](const CallContext& context) {
          return parsed.ok() ? parts_.retriever.ReadText(context, read, &text) : parsed;
        });
}

void HttpApi::Impl::Retrieve(const Request& request, const Reader& reader, Response& response) {
  v1::RetrieveRequest retrieve;
  v1::RetrieveResponse spans;
  const absl::Status parsed = ReadJson(request, reader, &retrieve);
  Unary(request, response, "ilre.v1.Retriever/Retrieve", parts_.questions, "questions", &spans,
        [&](const CallContext& context) {
          const absl::Status status = parsed.ok() ? parts_.retriever.Retrieve(context, retrieve, &spans) : parsed;
          if (status.ok()) parts_.server.metrics.AddRecalled(spans.recalled_tokens(), spans.document_tokens());
          return status;
        });
}

void HttpApi::Impl::Score(const Request& request, const Reader& reader, Response& response) {
  v1::ScoreDocumentRequest score;
  v1::ScoreDocumentResponse parts;
  const absl::Status parsed = ReadJson(request, reader, &score);
  Unary(request, response, "ilre.v1.Retriever/ScoreDocument", parts_.questions, "questions", &parts,
        [&](const CallContext& context) {
          return parsed.ok() ? parts_.retriever.ScoreDocument(context, score, &parts) : parsed;
        });
}

void HttpApi::Impl::Generate(const Request& request, const Reader& reader, Response& response) {
  v1::GenerateRequest generate;
  const absl::Status parsed = ReadJson(request, reader, &generate);
  LineStream::Start(
      HeadersOf(request, options_.answer_timeout), "ilre.v1.Generator/Generate", parts_.server, parts_.answers,
      "answers",
      [parts = parts_, generate, parsed](const CallContext& context, const LineStream::Write& write) {
        if (!parsed.ok()) return parsed;
        return parts.generator.Generate(context, generate, [&](const v1::GenerateResponse& event) {
          CountGeneration(event, parts.server.metrics);
          return write(event);
        });
      },
      response);
}

void HttpApi::Impl::Post(httplib::Server& server, const char* pattern, BodyRoute route) {
  server.Post(pattern, [this, route](const Request& request, Response& response, const Reader& reader) {
    Guard(request, response, [&] { (this->*route)(request, reader, response); });
  });
}

void HttpApi::Impl::Mount(httplib::Server& server) {
  server.set_keep_alive_max_count(1);
  server.set_payload_max_length(std::numeric_limits<size_t>::max());
  server.set_read_timeout(kPatienceSeconds);
  server.set_write_timeout(kPatienceSeconds);
  const auto route = [this](void (Impl::*member)(const Request&, Response&)) {
    return [this, member](const Request& request, Response& response) {
      Guard(request, response, [&] { (this->*member)(request, response); });
    };
  };
  server.Get("/v1/collections/([^/:]+)/documents", route(&Impl::List));
  server.Get("/v1/collections/([^/:]+)/documents/([^/:]+)", route(&Impl::Get));
  server.Get("/v1/collections/([^/:]+)/documents/([^/:]+):status", route(&Impl::Status));
  Post(server, "/v1/collections/([^/:]+)/documents/([^/:]+):ingest", &Impl::Ingest);
  Post(server, "/v1/collections/([^/:]+)/documents/([^/:]+):text", &Impl::Text);
  Post(server, "/v1/documents:retrieve", &Impl::Retrieve);
  Post(server, "/v1/documents:score", &Impl::Score);
  Post(server, "/v1/documents:generate", &Impl::Generate);
  // With a reader, though it has no body: httplib would read one of any size into memory.
  server.Delete("/v1/collections/([^/:]+)/documents/([^/:]+)",
                [this](const Request& request, Response& response, const Reader&) {
                  Guard(request, response, [&] { Delete(request, response); });
                });
  MountPage(server, loopback_only_);
  server.Get("/v1/.*", [](const Request&, Response& response) { AnswerUnknown(response); });
  const auto unknown = [](const Request& request, Response& response, const Reader& reader) {
    DiscardBody(request, reader);
    AnswerUnknown(response);
  };
  server.Post(".*", unknown).Put(".*", unknown).Patch(".*", unknown).Delete(".*", unknown);
}

HttpApi::HttpApi(const HttpApiParts& parts, const HttpApiOptions& options)
    : impl_(std::make_unique<Impl>(parts, options)) {}
HttpApi::~HttpApi() = default;
void HttpApi::Mount(httplib::Server& server) { impl_->Mount(server); }

}  // namespace ilre::cli
