#include "cli/loaded_model.h"

#include <algorithm>
#include <chrono>
#include <optional>
#include <utility>

#include "common/base/errors.h"
#include "common/base/status_macros.h"
#include "common/base/thread_pool.h"

namespace ilre::cli {

int LayersForRetrieval(const RetrievalProfile& profile) {
  int layers = 1;
  for (const RetrievalHead& head : profile.heads) {
    layers = std::max(layers, head.kind == RetrievalHead::Kind::kKey ? head.layer + 1 : head.deepest_layer());
  }
  if (profile.rerank.shortlist > 0) layers = std::max(layers, profile.rerank.layer + 1);
  return layers;
}

absl::StatusOr<LoadedModel> LoadModel(const Settings& settings, Layers layers, int least_stream_layers) {
  const auto start = std::chrono::steady_clock::now();
  SetDefaultPoolThreads(settings.threads);
  LoadedModel loaded;
  ILRE_ASSIGN_OR_RETURN(const std::string path, ModelPath(settings));
  ILRE_ASSIGN_OR_RETURN(loaded.checkpoint, Checkpoint::Open(path));
  std::optional<RetrievalProfile> profile;
  if (layers != Layers::kWholeModel) {
    ILRE_ASSIGN_OR_RETURN(const std::string profile_path, ProfilePath(settings, loaded.checkpoint->fingerprint()));
    ILRE_ASSIGN_OR_RETURN(profile, LoadProfile(profile_path));
    ILRE_RETURN_IF_ERROR(Annotate(profile->Validate(loaded.checkpoint->config()), profile_path));
  }
  DecoderOptions options;
  options.device = settings.device;
  ILRE_ASSIGN_OR_RETURN(options.arithmetic, ParseArithmetic(settings.arithmetic));
  options.stream_layers = std::max(least_stream_layers, profile.has_value() ? LayersForRetrieval(*profile) : 0);
  if (layers == Layers::kForRetrieval) options.num_layers = options.stream_layers;
  ILRE_ASSIGN_OR_RETURN(loaded.tokenizer, Tokenizer::Create(loaded.checkpoint->tokenizer()));
  ILRE_ASSIGN_OR_RETURN(loaded.decoder, Decoder::Load(*loaded.checkpoint, options));
  if (profile.has_value()) {
    ILRE_ASSIGN_OR_RETURN(loaded.retrieval,
                          RetrievalModel::Create(*loaded.decoder, *loaded.tokenizer, loaded.checkpoint->fingerprint(),
                                                 *std::move(profile)));
  }
  loaded.load_ms = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
  return loaded;
}

}  // namespace ilre::cli
