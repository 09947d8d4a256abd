#include "cli/remote_commands.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "cli/interrupt.h"
#include "cli/progress.h"
#include "cli/server_connection.h"
#include "common/base/errors.h"
#include "common/base/status_macros.h"

namespace ilre::cli {
namespace {

constexpr size_t kChunkBytes = 256 << 10;
constexpr int kPageSize = 1000;

int64_t MsOf(const google::protobuf::Timestamp& time) { return time.seconds() * 1000 + time.nanos() / 1'000'000; }

absl::StatusOr<DocumentRow> RowOf(const v1::Document& document) {
  ILRE_ASSIGN_OR_RETURN(const DocumentName name, FromResourceName(document.name()));
  DocumentRow row;
  row.collection = name.collection;
  row.document = name.document;
  row.state = document.state() == v1::Document::READY       ? DocumentState::kReady
              : document.state() == v1::Document::INGESTING ? DocumentState::kIngesting
                                                            : DocumentState::kFailed;
  row.committed_bytes = static_cast<uint64_t>(document.committed_bytes());
  row.num_tokens = static_cast<uint64_t>(document.token_count());
  row.create_time_ms = MsOf(document.create_time());
  row.update_time_ms = MsOf(document.update_time());
  row.expire_time_ms = MsOf(document.expire_time());
  row.failure = document.failure();
  row.model = document.model_fingerprint();
  row.tokenizer = document.tokenizer_fingerprint();
  row.profile = document.profile_fingerprint();
  return row;
}

// Sends a file as one IngestDocument call: from its beginning, since the server compares what it has already.
class RemoteIngest {
 public:
  using Stream = grpc::ClientReaderWriter<v1::IngestDocumentRequest, v1::IngestProgress>;

  RemoteIngest(ServerConnection& connection, const IngestArguments& arguments, const DocumentName& name)
      : connection_(connection), arguments_(arguments), name_(ResourceName(name)) {}

  // Where bytes behind a finished document begin; 0 without --append.
  absl::StatusOr<uint64_t> AppendOffset() {
    if (!arguments_.append) return 0;
    v1::GetIngestStatusRequest request;
    request.set_name(name_);
    v1::IngestProgress progress;
    grpc::ClientContext context;
    connection_.Prepare(&context);
    const absl::Status status =
        connection_.Explain(connection_.encoder().GetIngestStatus(&context, request, &progress));
    if (absl::IsNotFound(status)) return 0;
    ILRE_RETURN_IF_ERROR(status);
    if (progress.document().state() == v1::Document::READY) return static_cast<uint64_t>(progress.committed_bytes());
    return MakeError(absl::StatusCode::kFailedPrecondition, "DOCUMENT_NOT_READY",
                     absl::StrCat("document ", name_,
                                  " is not finished: ingest all of it, the old text and the new, without --append"));
  }

  absl::StatusOr<v1::IngestProgress> Send(Input& input, uint64_t offset) {
    grpc::ClientContext context;
    connection_.Prepare(&context);
    const CancelOnInterrupt cancel(&context);
    const std::unique_ptr<Stream> stream = connection_.encoder().IngestDocument(&context);
    std::thread reader([&] { ReadProgress(stream.get()); });
    const absl::Status sent = WriteAll(input, offset, stream.get());
    if (!sent.ok()) context.TryCancel();
    stream->WritesDone();
    reader.join();
    const absl::Status status = connection_.Explain(stream->Finish());
    ILRE_RETURN_IF_ERROR(sent);
    ILRE_RETURN_IF_ERROR(status);
    return last_;
  }

 private:
  // OK when the stream broke: Finish knows why.
  absl::Status WriteAll(Input& input, uint64_t offset, Stream* stream) {
    v1::IngestDocumentRequest message;
    message.set_name(name_);
    message.mutable_options()->set_replace(arguments_.replace);
    message.mutable_options()->set_append(arguments_.append);
    uint64_t sent = 0;
    Progress progress(arguments_.name, input.size(), 0);
    for (;;) {
      ILRE_ASSIGN_OR_RETURN(absl::string_view bytes, input.Read());
      if (bytes.empty()) break;
      if (sent + bytes.size() > arguments_.max_bytes) return GoesBeyond(input, arguments_.max_bytes);
      while (!bytes.empty()) {
        const absl::string_view chunk = bytes.substr(0, kChunkBytes);
        message.set_write_offset(static_cast<int64_t>(offset + sent));
        message.set_data(chunk.data(), chunk.size());
        if (!stream->Write(message)) return absl::OkStatus();
        message.Clear();
        bytes.remove_prefix(chunk.size());
        sent += chunk.size();
        progress.Update(sent, committed_tokens());
      }
    }
    message.set_finish_write(true);
    stream->Write(message);
    return absl::OkStatus();
  }

  void ReadProgress(Stream* stream) {
    v1::IngestProgress progress;
    while (stream->Read(&progress)) {
      absl::MutexLock lock(&mutex_);
      if (arguments_.acknowledge && progress.committed_bytes() > last_.committed_bytes()) {
        std::printf("acknowledged %lld\n", static_cast<long long>(progress.committed_bytes()));
        std::fflush(stdout);
      }
      last_ = progress;
    }
  }

  uint64_t committed_tokens() {
    absl::MutexLock lock(&mutex_);
    return static_cast<uint64_t>(last_.token_count());
  }

  ServerConnection& connection_;
  const IngestArguments& arguments_;
  const std::string name_;
  absl::Mutex mutex_;
  v1::IngestProgress last_;  // guarded by mutex_ while the reader runs
};

}  // namespace

absl::Status RunRemoteIngest(const Settings& settings, const IngestArguments& arguments, const DocumentName& name,
                             Input& input) {
  ILRE_ASSIGN_OR_RETURN(const auto connection, ServerConnection::Open(settings));
  InstallInterruptHandler();
  const auto start = std::chrono::steady_clock::now();
  RemoteIngest ingest(*connection, arguments, name);
  ILRE_ASSIGN_OR_RETURN(const uint64_t offset, ingest.AppendOffset());
  ILRE_ASSIGN_OR_RETURN(const v1::IngestProgress last, ingest.Send(input, offset));
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  const auto tokens = static_cast<uint64_t>(last.token_count()),
             computed = static_cast<uint64_t>(last.computed_tokens());
  if (computed == 0) {
    std::printf("%s is up to date: %s tokens\n", name.ToString().c_str(), WithCommas(tokens).c_str());
    return absl::OkStatus();
  }
  std::printf("%s: %s tokens, %s bytes, in %.3f s (%s tokens/s)\n", name.ToString().c_str(), WithCommas(tokens).c_str(),
              WithCommas(static_cast<uint64_t>(last.committed_bytes())).c_str(), seconds,
              WithCommas(static_cast<uint64_t>(static_cast<double>(computed) / seconds)).c_str());
  return absl::OkStatus();
}

absl::StatusOr<DocumentRow> GetRemoteDocument(const Settings& settings, const DocumentName& name) {
  ILRE_ASSIGN_OR_RETURN(const auto connection, ServerConnection::Open(settings));
  v1::GetDocumentRequest request;
  request.set_name(ResourceName(name));
  v1::Document document;
  grpc::ClientContext context;
  connection->Prepare(&context);
  ILRE_RETURN_IF_ERROR(connection->Explain(connection->encoder().GetDocument(&context, request, &document)));
  return RowOf(document);
}

absl::Status ForEachRemoteDocument(const Settings& settings, const std::string& collection,
                                   const std::function<absl::Status(const DocumentRow&)>& visit) {
  ILRE_ASSIGN_OR_RETURN(const auto connection, ServerConnection::Open(settings));
  v1::ListDocumentsRequest request;
  request.set_parent(absl::StrCat("collections/", collection.empty() ? "-" : collection));
  request.set_page_size(kPageSize);
  do {
    v1::ListDocumentsResponse response;
    grpc::ClientContext context;
    connection->Prepare(&context);
    ILRE_RETURN_IF_ERROR(connection->Explain(connection->encoder().ListDocuments(&context, request, &response)));
    for (const v1::Document& document : response.documents()) {
      ILRE_ASSIGN_OR_RETURN(const DocumentRow row, RowOf(document));
      ILRE_RETURN_IF_ERROR(visit(row));
    }
    request.set_page_token(response.next_page_token());
  } while (!request.page_token().empty());
  return absl::OkStatus();
}

absl::Status DeleteRemoteDocument(const Settings& settings, const DocumentName& name) {
  ILRE_ASSIGN_OR_RETURN(const auto connection, ServerConnection::Open(settings));
  v1::DeleteDocumentRequest request;
  request.set_name(ResourceName(name));
  google::protobuf::Empty response;
  grpc::ClientContext context;
  connection->Prepare(&context);
  return connection->Explain(connection->encoder().DeleteDocument(&context, request, &response));
}

}  // namespace ilre::cli
