#include "generator_service/grpc_retrieval_source.h"

#include <utility>

#include "common/base/status_macros.h"

namespace ilre {

absl::StatusOr<std::unique_ptr<GrpcRetrievalSource>> GrpcRetrievalSource::Create(ChannelOptions options) {
  options.repeatable_service = v1::Retriever::service_full_name();
  ILRE_ASSIGN_OR_RETURN(const auto channel, MakeChannel(options));
  return std::unique_ptr<GrpcRetrievalSource>(new GrpcRetrievalSource(v1::Retriever::NewStub(channel)));
}

absl::Status GrpcRetrievalSource::Retrieve(const CallContext& context, const v1::RetrieveRequest& request,
                                           v1::RetrieveResponse* response) {
  return CallAndWait(context, "recalling", [&](grpc::ClientContext* client, std::function<void(grpc::Status)> done) {
    stub_->async()->Retrieve(client, &request, response, std::move(done));
  });
}

}  // namespace ilre
