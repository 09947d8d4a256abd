// ilre-retriever: recalls from a store that an encoder writes; any number of them.
#include <memory>
#include <vector>

#include "CLI/CLI.hpp"
#include "cli/loaded_model.h"
#include "cli/serve/serving.h"
#include "common/base/status_macros.h"
#include "common/store/cached_key_store.h"
#include "common/store/store_refresher.h"
#include "retriever_service/retriever_server.h"

namespace ilre::cli {
namespace {

struct RetrieverFlags {
  uint64_t cache_bytes = uint64_t{256} << 20;
  int refresh_ms = 200;
};

absl::Status Serve(const Settings& settings, const ServerOptions& server, const RetrieverFlags& flags) {
  ILRE_RETURN_IF_ERROR(RetrieverOptionsOf(server).Validate());
  ILRE_ASSIGN_OR_RETURN(const auto common, ServerCommon::Create(server));
  ILRE_ASSIGN_OR_RETURN(const std::string data_dir, DataDirectory(settings));
  ILRE_ASSIGN_OR_RETURN(const auto follower, OpenKeyStoreFollower(data_dir, {}));
  StoreRefresher refresher(follower.get(), absl::Milliseconds(flags.refresh_ms));
  CachedKeyStore store(follower.get(), flags.cache_bytes);
  ILRE_ASSIGN_OR_RETURN(const LoadedModel model, LoadModel(settings, Layers::kForRetrieval));
  const auto cache_figures = common->parts().metrics.WatchKeyCache([&] {
    const auto stats = store.cache_stats();
    return ServiceMetrics::KeyCacheFigures{static_cast<int64_t>(stats.hits), static_cast<int64_t>(stats.misses),
                                           static_cast<int64_t>(stats.bytes)};
  });
  RetrieverServer retriever(store, *model.retrieval, RetrieverOptionsOf(server), common->parts());
  ILRE_ASSIGN_OR_RETURN(
      const auto runner,
      ServerRunner::Start(server, common->parts(), {{v1::Retriever::service_full_name(), retriever.service()}}));
  AnnounceAndRun(*runner);
  return absl::OkStatus();
}

int Main(int argc, char** argv) {
  CLI::App app("Recalls what matters for a question, from a store that an ilre-encoder writes.", "ilre-retriever");
  Settings settings;
  ServerOptions server;
  RetrieverFlags flags;
  AddDataDirFlag(&app, &settings);
  AddModelFlags(&app, &settings);
  app.add_option("--cache-bytes", flags.cache_bytes, "Keys of documents that are kept in memory; 0: none")
      ->capture_default_str()
      ->check(CLI::Range(uint64_t{0}, uint64_t{1} << 44));
  app.add_option("--refresh-ms", flags.refresh_ms, "How often it looks for what the encoder has written since")
      ->capture_default_str()
      ->check(CLI::Range(10, 60000));
  AddServerFlags(&app, &server);
  return RunServerMain(&app, argc, argv, server, [&] { return Serve(settings, server, flags); });
}

}  // namespace
}  // namespace ilre::cli

int main(int argc, char** argv) { return ilre::cli::Main(argc, argv); }
