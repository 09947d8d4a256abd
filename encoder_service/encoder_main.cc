// ilre-encoder: the one server that writes the store.
#include "CLI/CLI.hpp"
#include "cli/loaded_model.h"
#include "cli/serve/serving.h"
#include "common/base/status_macros.h"
#include "encoder_service/encoder_server.h"

namespace ilre::cli {
namespace {

absl::Status Serve(const Settings& settings, const ServerOptions& server, const EncoderFlags& flags) {
  const EncoderServerOptions options = EncoderOptionsOf(flags, server);
  ILRE_RETURN_IF_ERROR(options.Validate());
  ILRE_ASSIGN_OR_RETURN(const auto common, ServerCommon::Create(server));
  ILRE_ASSIGN_OR_RETURN(const std::string data_dir, DataDirectory(settings));
  ILRE_ASSIGN_OR_RETURN(const auto store, OpenKeyStore(data_dir, StoreOptionsOf(flags)));
  ILRE_ASSIGN_OR_RETURN(const LoadedModel model, LoadModel(settings, Layers::kForRetrieval));
  EncoderServer encoder(*store, *model.retrieval, options, common->parts());
  ILRE_ASSIGN_OR_RETURN(
      const auto runner,
      ServerRunner::Start(server, common->parts(), {{v1::Encoder::service_full_name(), encoder.service()}}));
  AnnounceAndRun(*runner);
  return absl::OkStatus();
}

int Main(int argc, char** argv) {
  CLI::App app("Reads documents: bytes in, keys stored. One process at a time writes a store.", "ilre-encoder");
  Settings settings;
  ServerOptions server;
  EncoderFlags flags;
  AddDataDirFlag(&app, &settings);
  AddModelFlags(&app, &settings);
  AddEncoderFlags(&app, &flags);
  AddServerFlags(&app, &server);
  return RunServerMain(&app, argc, argv, server, [&] { return Serve(settings, server, flags); });
}

}  // namespace
}  // namespace ilre::cli

int main(int argc, char** argv) { return ilre::cli::Main(argc, argv); }
