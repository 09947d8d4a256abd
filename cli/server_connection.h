// The connection of `ilre --server` to a running server.
#pragma once

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "cli/document_name.h"
#include "cli/settings.h"
#include "grpcpp/channel.h"
#include "grpcpp/client_context.h"
#include "grpcpp/support/status.h"
#include "ilre/v1/encoder.grpc.pb.h"
#include "ilre/v1/generator.grpc.pb.h"
#include "ilre/v1/retriever.grpc.pb.h"

namespace ilre::cli {

class ServerConnection {
 public:
  // Errors of the token's or authority's file. The server itself is met by the first call.
  static absl::StatusOr<std::unique_ptr<ServerConnection>> Open(const Settings& settings);

  v1::Encoder::Stub& encoder() { return *encoder_; }
  v1::Retriever::Stub& retriever() { return *retriever_; }
  v1::Generator::Stub& generator() { return *generator_; }

  // What every call carries: the token.
  void Prepare(grpc::ClientContext* context) const;

  // The server's error, or that it cannot be reached.
  absl::Status Explain(const grpc::Status& status) const;

 private:
  std::string server_, authorization_;
  std::unique_ptr<v1::Encoder::Stub> encoder_;
  std::unique_ptr<v1::Retriever::Stub> retriever_;
  std::unique_ptr<v1::Generator::Stub> generator_;
};

// Cancels a call when the user presses Ctrl-C while it lives.
class CancelOnInterrupt {
 public:
  explicit CancelOnInterrupt(grpc::ClientContext* context);
  ~CancelOnInterrupt();
  CancelOnInterrupt(const CancelOnInterrupt&) = delete;
  CancelOnInterrupt& operator=(const CancelOnInterrupt&) = delete;

 private:
  class Watcher;
  const std::unique_ptr<Watcher> watcher_;
};

// collections/C/documents/D
std::string ResourceName(const DocumentName& name);
// Of a resource name from a server; INTERNAL for what is none.
absl::StatusOr<DocumentName> FromResourceName(const std::string& name);

}  // namespace ilre::cli
