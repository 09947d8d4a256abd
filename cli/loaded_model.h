// A model, its tokenizer and its retrieval profile, loaded for one command.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "cli/settings.h"
#include "common/model/chat_template.h"
#include "common/model/checkpoint.h"
#include "common/model/decoder.h"
#include "common/model/tokenizer.h"
#include "common/retrieval/retrieval_model.h"

namespace ilre::cli {

struct LoadedModel {
  std::unique_ptr<Checkpoint> checkpoint;
  std::unique_ptr<Tokenizer> tokenizer;
  std::unique_ptr<Decoder> decoder;
  std::unique_ptr<RetrievalModel> retrieval;  // null for Layers::kWholeModel
  double load_ms = 0;
};

enum class Layers {
  kForRetrieval,  // as many as the profile needs
  kAll,           // for retrieval and for answers
  kWholeModel,    // all of them for answers alone: no profile, and no `retrieval`
};

// Layers that documents and questions run through, from the first.
int LayersForRetrieval(const RetrievalProfile& profile);

// Can stream the profile's layers, and least_stream_layers in any case.
absl::StatusOr<LoadedModel> LoadModel(const Settings& settings, Layers layers, int least_stream_layers = 0);

}  // namespace ilre::cli
