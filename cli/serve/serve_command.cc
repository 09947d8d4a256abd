#include "cli/serve/serve_command.h"

#include <memory>

#include "cli/loaded_model.h"
#include "cli/serve/http_api.h"
#include "common/base/status_macros.h"
#include "generator_service/retrieval_source.h"
#include "ilre/v1/encoder.grpc.pb.h"
#include "ilre/v1/generator.grpc.pb.h"
#include "ilre/v1/retriever.grpc.pb.h"

namespace ilre::cli {
namespace {

// The retriever of the same process.
class LocalRetrievalSource final : public RetrievalSource {
 public:
  LocalRetrievalSource(RetrieverHandler& handler, ServiceMetrics& metrics) : handler_(handler), metrics_(metrics) {}

  absl::Status Retrieve(const CallContext& context, const v1::RetrieveRequest& request,
                        v1::RetrieveResponse* response) override {
    CallContext own = context;
    own.arrival = absl::Now();
    absl::Status status = handler_.Retrieve(own, request, response);
    if (status.ok()) metrics_.AddRecalled(response->recalled_tokens(), response->document_tokens());
    return status;
  }

 private:
  RetrieverHandler& handler_;
  ServiceMetrics& metrics_;
};

std::string HostOf(const std::string& address) { return address.substr(0, address.rfind(':')); }

}  // namespace

void AddServeFlags(CLI::App* app, ServeArguments* arguments) {
  AddServerFlags(app, &arguments->server);
  AddEncoderFlags(app, &arguments->encoder);
}

absl::Status RunServe(const Settings& settings, const ServeArguments& arguments) {
  BlockSignals();  // before the first thread
  const EncoderServerOptions encoder_options = EncoderOptionsOf(arguments.encoder, arguments.server);
  ILRE_RETURN_IF_ERROR(encoder_options.Validate());
  ILRE_RETURN_IF_ERROR(GeneratorOptionsOf(arguments.server).Validate());
  ILRE_ASSIGN_OR_RETURN(const auto common, ServerCommon::Create(arguments.server));
  ILRE_ASSIGN_OR_RETURN(const std::string data_dir, DataDirectory(settings));
  ILRE_ASSIGN_OR_RETURN(const auto store, OpenKeyStore(data_dir, StoreOptionsOf(arguments.encoder)));
  ILRE_ASSIGN_OR_RETURN(const LoadedModel model, LoadModel(settings, Layers::kAll));

  EncoderServer encoder(*store, *model.retrieval, encoder_options, common->parts());
  RetrieverServer retriever(*store, *model.retrieval, RetrieverOptionsOf(arguments.server), common->parts());
  LocalRetrievalSource retrieval(retriever.handler(), common->parts().metrics);
  ILRE_ASSIGN_OR_RETURN(const auto generator,
                        GeneratorServer::Create(retrieval, *model.decoder, *model.tokenizer,
                                                GeneratorOptionsOf(arguments.server), common->parts()));
  HttpApi api({.encoder = encoder.handler(),
               .retriever = retriever.handler(),
               .generator = generator->handler(),
               .ingests = encoder.ingests(),
               .requests = encoder.requests(),
               .questions = retriever.executor(),
               .answers = generator->executor(),
               .server = common->parts()},
              {.listen_host = HostOf(arguments.server.http_listen), .max_ingests = arguments.encoder.max_ingests});
  ILRE_ASSIGN_OR_RETURN(const auto runner,
                        ServerRunner::Start(arguments.server, common->parts(),
                                            {{v1::Encoder::service_full_name(), encoder.service()},
                                             {v1::Retriever::service_full_name(), retriever.service()},
                                             {v1::Generator::service_full_name(), generator->service()}},
                                            [&](httplib::Server& server) { api.Mount(server); }));
  AnnounceAndRun(*runner);
  return absl::OkStatus();
}

}  // namespace ilre::cli
