// A retriever in another process.
#pragma once

#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/call_context.h"
#include "common/rpc/client.h"
#include "generator_service/retrieval_source.h"
#include "ilre/v1/retriever.grpc.pb.h"

namespace ilre {

// Thread-safe.
class GrpcRetrievalSource final : public RetrievalSource {
 public:
  // Connects when it is first used, and again. Errors: as of MakeChannel.
  static absl::StatusOr<std::unique_ptr<GrpcRetrievalSource>> Create(ChannelOptions options);

  absl::Status Retrieve(const CallContext& context, const v1::RetrieveRequest& request,
                        v1::RetrieveResponse* response) override;

 private:
  explicit GrpcRetrievalSource(std::unique_ptr<v1::Retriever::Stub> stub) : stub_(std::move(stub)) {}

  const std::unique_ptr<v1::Retriever::Stub> stub_;
};

}  // namespace ilre
