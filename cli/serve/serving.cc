#include "cli/serve/serving.h"

#include <algorithm>
#include <cstdio>

#include "common/base/standard_files.h"

namespace ilre::cli {
namespace {

// Kept free for a full disk, so that documents can still be deleted there.
constexpr uint64_t kDiskReserveBytes = uint64_t{64} << 20;

}  // namespace

void AddEncoderFlags(CLI::App* app, EncoderFlags* flags) {
  app->add_option("--max-document-bytes", flags->max_document_bytes, "Longer documents are refused")
      ->capture_default_str()
      ->check(CLI::Range(uint64_t{1}, uint64_t{1} << 40));
  app->add_option("--tenant-quota-bytes", flags->tenant_quota_bytes,
                  "Stored bytes that each tenant may have; 0: no limit")
      ->capture_default_str();
  app->add_option("--store-quota-bytes", flags->store_quota_bytes, "Stored bytes in all; 0: no limit")
      ->capture_default_str();
  app->add_option("--ingest-workers", flags->ingest_workers, "Documents that are computed at once; others take turns")
      ->capture_default_str()
      ->check(CLI::Range(1, 256));
  app->add_option("--max-ingests", flags->max_ingests, "Ingests that are open at once; one more is refused")
      ->capture_default_str()
      ->check(CLI::Range(1, 100000));
}

KeyStoreOptions StoreOptionsOf(const EncoderFlags& flags) {
  KeyStoreOptions options;
  options.max_tenant_bytes = flags.tenant_quota_bytes;
  options.max_store_bytes = flags.store_quota_bytes;
  options.reserve_bytes = kDiskReserveBytes;
  return options;
}

EncoderServerOptions EncoderOptionsOf(const EncoderFlags& flags, const ServerOptions& server) {
  EncoderServerOptions options;
  options.limits.max_document_bytes = flags.max_document_bytes;
  options.ingest_workers = flags.ingest_workers;
  options.max_ingests = flags.max_ingests;
  options.max_running = std::min(4, server.max_running);
  options.max_waiting = server.max_waiting;
  return options;
}

RetrieverServerOptions RetrieverOptionsOf(const ServerOptions& server) {
  return {.max_running = server.max_running, .max_waiting = server.max_waiting};
}

GeneratorServerOptions GeneratorOptionsOf(const ServerOptions& server) {
  return {.max_running = server.max_running, .max_waiting = server.max_waiting};
}

void AddModelFlags(CLI::App* app, Settings* settings) {
  app->add_option("--model", settings->model, "GGUF file or Hugging Face folder [$ILRE_MODEL, or the default model]");
  app->add_option("--profile", settings->profile,
                  "Retrieval profile [$ILRE_PROFILE, or the one shipped for the model]");
  app->add_option("--device", settings->device, "cpu, cuda, cuda:N, npu, npu:N, or torch-cpu")->capture_default_str();
  app->add_option("--arithmetic", settings->arithmetic, "Of answers on the processor: auto, float32 or quantized")
      ->capture_default_str();
  app->add_option("--threads", settings->threads, "Threads of the computation; 0: one for each processor")
      ->capture_default_str()
      ->check(CLI::Range(0, 1024));
}

void AddDataDirFlag(CLI::App* app, Settings* settings) {
  app->add_option("--data-dir", settings->data_dir, "Folder of the documents [$ILRE_DATA_DIR, or ~/.local/share/ilre]");
}

void AnnounceAndRun(ServerRunner& runner) {
  std::printf("listening on %s\n", runner.address().c_str());
  if (!runner.http_address().empty()) std::printf("http on %s\n", runner.http_address().c_str());
  std::fflush(stdout);
  runner.SetReady(true);
  runner.RunUntilSignal();
}

int RunServerMain(CLI::App* app, int argc, char** argv, const ServerOptions& options,
                  const std::function<absl::Status()>& run) {
  HoldStandardFiles();
  BlockSignals();
  try {
    app->parse(argc, argv);
  } catch (const CLI::Success& help) {
    return app->exit(help);
  } catch (const CLI::ParseError& error) {
    std::fprintf(stderr, "%s: %s (see --help)\n", app->get_name().c_str(), error.what());
    return 2;
  }
  if (const absl::Status status = FinishServerFlags(app, options); !status.ok()) {
    std::fprintf(stderr, "%s: %s\n", app->get_name().c_str(), std::string(status.message()).c_str());
    return 2;
  }
  const absl::Status status = run();
  if (status.ok()) return 0;
  std::fprintf(stderr, "%s: %s\n", app->get_name().c_str(), std::string(status.message()).c_str());
  return 1;
}

}  // namespace ilre::cli
