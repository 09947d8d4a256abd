#include "cli/server_connection.h"

#include <cstdlib>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/synchronization/mutex.h"
#include "cli/interrupt.h"
#include "common/base/errors.h"
#include "common/base/file.h"
#include "common/base/status_macros.h"
#include "common/rpc/client.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/security/credentials.h"

namespace ilre::cli {
namespace {

constexpr int kMaxMessageBytes = 64 << 20;  // spans of a large budget
constexpr size_t kMaxFileBytes = 1 << 20;

absl::StatusOr<std::string> Token(const Settings& settings) {
  if (!settings.token_file.empty()) {
    ILRE_ASSIGN_OR_RETURN(const std::string text, ReadFile(settings.token_file, kMaxFileBytes));
    return std::string(absl::StripAsciiWhitespace(text));
  }
  const char* token = std::getenv("ILRE_TOKEN");
  return std::string(token == nullptr ? "" : token);
}

absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> Credentials(const Settings& settings) {
  if (settings.server_ca.empty()) return grpc::InsecureChannelCredentials();
  grpc::SslCredentialsOptions options;
  if (settings.server_ca != "system") {
    ILRE_ASSIGN_OR_RETURN(options.pem_root_certs, ReadFile(settings.server_ca, kMaxFileBytes));
  }
  return grpc::SslCredentials(options);
}

}  // namespace

absl::StatusOr<std::unique_ptr<ServerConnection>> ServerConnection::Open(const Settings& settings) {
  auto connection = std::make_unique<ServerConnection>();
  connection->server_ = settings.server;
  ILRE_ASSIGN_OR_RETURN(const std::string token, Token(settings));
  if (!token.empty()) connection->authorization_ = absl::StrCat("Bearer ", token);
  ILRE_ASSIGN_OR_RETURN(const auto credentials, Credentials(settings));
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(kMaxMessageBytes);
  const auto channel = grpc::CreateCustomChannel(settings.server, credentials, arguments);
  connection->encoder_ = v1::Encoder::NewStub(channel);
  connection->retriever_ = v1::Retriever::NewStub(channel);
  connection->generator_ = v1::Generator::NewStub(channel);
  return connection;
}

void ServerConnection::Prepare(grpc::ClientContext* context) const {
  if (!authorization_.empty()) context->AddMetadata("authorization", authorization_);
}

absl::Status ServerConnection::Explain(const grpc::Status& status) const {
  if (status.ok()) return absl::OkStatus();
  if (Interrupted()) return errors::Cancelled("the call");
  const absl::Status converted = StatusOfCall({}, "the call", status);
  if (!absl::IsUnavailable(converted)) return converted;
  return Annotate(converted, absl::StrCat("server ", server_));
}

class CancelOnInterrupt::Watcher {
 public:
  explicit Watcher(grpc::ClientContext* context) : thread_([this, context] { Watch(context); }) {}
  ~Watcher() {
    {
      absl::MutexLock lock(&mutex_);
      done_ = true;
    }
    thread_.join();
  }

 private:
  void Watch(grpc::ClientContext* context) {
    absl::MutexLock lock(&mutex_);
    while (!mutex_.AwaitWithTimeout(absl::Condition(&done_), absl::Milliseconds(50))) {
      if (Interrupted()) return context->TryCancel();
    }
  }

  absl::Mutex mutex_;
  bool done_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

CancelOnInterrupt::CancelOnInterrupt(grpc::ClientContext* context) : watcher_(std::make_unique<Watcher>(context)) {}
CancelOnInterrupt::~CancelOnInterrupt() = default;

std::string ResourceName(const DocumentName& name) {
  return absl::StrCat("collections/", name.collection, "/documents/", name.document);
}

absl::StatusOr<DocumentName> FromResourceName(const std::string& name) {
  const std::vector<std::string> parts = absl::StrSplit(name, '/');
  if (parts.size() == 4 && parts[0] == "collections" && parts[2] == "documents")
    return DocumentName{parts[1], parts[3]};
  return MakeError(absl::StatusCode::kInternal, "BAD_ANSWER", absl::StrCat("the server speaks of '", name, "'"));
}

}  // namespace ilre::cli
