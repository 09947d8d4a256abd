// ilre-generator: answers with the whole model, from what a retriever recalls; any number of them.
#include <memory>

#include "CLI/CLI.hpp"
#include "cli/loaded_model.h"
#include "cli/serve/serving.h"
#include "common/base/status_macros.h"
#include "common/rpc/client.h"
#include "generator_service/generator_server.h"
#include "generator_service/grpc_retrieval_source.h"

namespace ilre::cli {
namespace {

absl::Status Serve(const Settings& settings, const ServerOptions& server, const ChannelOptions& retriever) {
  const GeneratorServerOptions options = GeneratorOptionsOf(server);
  ILRE_RETURN_IF_ERROR(options.Validate());
  ILRE_ASSIGN_OR_RETURN(const auto common, ServerCommon::Create(server));
  ILRE_ASSIGN_OR_RETURN(const auto retrieval, GrpcRetrievalSource::Create(retriever));
  ILRE_ASSIGN_OR_RETURN(const LoadedModel model, LoadModel(settings, Layers::kWholeModel));
  ILRE_ASSIGN_OR_RETURN(const auto generator, GeneratorServer::Create(*retrieval, *model.decoder, *model.tokenizer,
                                                                      options, common->parts()));
  ILRE_ASSIGN_OR_RETURN(
      const auto runner,
      ServerRunner::Start(server, common->parts(), {{v1::Generator::service_full_name(), generator->service()}}));
  AnnounceAndRun(*runner);
  return absl::OkStatus();
}

int Main(int argc, char** argv) {
  CLI::App app("Answers questions with the whole model, from what an ilre-retriever recalls.", "ilre-generator");
  Settings settings;
  ServerOptions server;
  ChannelOptions retriever;
  AddModelFlags(&app, &settings);
  app.add_option("--retriever", retriever.target,
                 "Where the retrievers are: HOST:PORT, or dns:///NAME:PORT for several")
      ->required();
  app.add_option("--retriever-ca", retriever.tls.ca, "TLS: the authority that signed the retrievers' certificates")
      ->check(CLI::ExistingFile);
  app.add_option("--retriever-cert", retriever.tls.cert, "Mutual TLS: the certificate to show them")
      ->check(CLI::ExistingFile);
  app.add_option("--retriever-key", retriever.tls.key, "Its private key")->check(CLI::ExistingFile);
  AddServerFlags(&app, &server);
  return RunServerMain(&app, argc, argv, server, [&] {
    retriever.tls.enabled = !retriever.tls.ca.empty();
    return Serve(settings, server, retriever);
  });
}

}  // namespace
}  // namespace ilre::cli

int main(int argc, char** argv) { return ilre::cli::Main(argc, argv); }
