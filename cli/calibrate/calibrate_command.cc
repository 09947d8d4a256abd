#include "cli/calibrate/calibrate_command.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "cli/calibrate/base_profile.h"
#include "cli/calibrate/heads_command.h"
#include "cli/calibrate/held_out_recall.h"
#include "cli/calibrate/training_pool.h"
#include "cli/calibrate/training_text.h"
#include "common/base/errors.h"
#include "common/base/status_macros.h"
#include "common/base/thread_pool.h"
#include "common/model/chat_template.h"
#include "common/model/checkpoint.h"

namespace ilre::cli {
namespace {

constexpr int kFactsPerText = 160;
constexpr float kNeedleWeight = 0.2f;  // of needle texts in the loss, beside 1 for questions

absl::Status CheckArguments(const CalibrateArguments& arguments) {
  if (arguments.train == arguments.heads) {
    return errors::InvalidArgument("calibrate: say what to do: --train or --heads");
  }
  if (arguments.layers.empty()) return errors::InvalidArgument("calibrate: no layer");
  if (!(arguments.holdout > 0 && arguments.holdout < 1))
    return errors::InvalidArgument("calibrate: --holdout is not in (0, 1)");
  // Known before minutes of training, not after.
  std::filesystem::path folder = std::filesystem::path(arguments.output).parent_path();
  if (folder.empty()) folder = ".";
  std::error_code error;
  if (!std::filesystem::is_directory(folder, error)) {
    return MakeError(absl::StatusCode::kNotFound, "FILE_NOT_FOUND", absl::StrCat("no folder ", folder.string()));
  }
  return absl::OkStatus();
}

// What training sees and what it does not.
struct Data {
  TrainingText questions, held_out;
  std::vector<TrainingText> needles;
};

absl::StatusOr<Data> ReadData(const CalibrateArguments& arguments) {
  ILRE_ASSIGN_OR_RETURN(const SplitSquad articles, ReadSplitSquad(arguments.squad_file, arguments.holdout));
  Data data;
  data.questions = JoinArticles(articles.training);
  data.held_out = JoinArticles(articles.held_out);
  const std::vector<std::string> prose = SentencesOf(data.questions.text);
  for (int i = 0; i < arguments.needle_texts; ++i) {
    data.needles.push_back(MakeNeedles(arguments.training.seed + static_cast<uint64_t>(i), kFactsPerText, prose));
  }
  return data;
}

absl::StatusOr<RetrievalHead> TrainLayer(const Decoder& decoder, const Tokenizer& tokenizer,
                                         const RetrievalProfile& profile, int layer, const Data& data,
                                         const ProbeTrainingOptions& options) {
  std::fprintf(stderr, "layer %d: reading the training texts\n", layer);
  ILRE_ASSIGN_OR_RETURN(const TrainingPool questions, MakePool(decoder, tokenizer, profile, layer, data.questions));
  std::vector<TrainingPool> needles;
  for (const TrainingText& text : data.needles) {
    ILRE_ASSIGN_OR_RETURN(needles.emplace_back(), MakePool(decoder, tokenizer, profile, layer, text));
  }
  std::vector<WeightedPool> pools = {{1.0f, {&questions}}};
  if (!needles.empty()) {
    pools.push_back({kNeedleWeight, {}});
    for (const TrainingPool& pool : needles) pools.back().choices.push_back(&pool);
  }
  std::fprintf(stderr, "layer %d: %zu questions, %lld segments, %zu needle texts\n", layer, questions.questions.size(),
               static_cast<long long>(questions.num_segments()), needles.size());
  return TrainProbe(pools, layer, options, [&](int step, double loss) {
    if ((step + 1) % 10 == 0)
      std::fprintf(stderr, "layer %d: step %d of %d, loss %.3f\n", layer, step + 1, options.steps, loss);
  });
}

}  // namespace

absl::Status RunCalibrate(const Settings& settings, const CalibrateArguments& arguments) {
  ILRE_RETURN_IF_ERROR(CheckArguments(arguments));
  if (arguments.heads) return CalibrateHeads(settings, arguments);
  SetDefaultPoolThreads(settings.threads);
  ILRE_ASSIGN_OR_RETURN(const Data data, ReadData(arguments));
  ILRE_ASSIGN_OR_RETURN(const std::string model_path, ModelPath(settings));
  ILRE_ASSIGN_OR_RETURN(const auto checkpoint, Checkpoint::Open(model_path));
  for (const int layer : arguments.layers) {
    if (layer < 1 || layer > checkpoint->config().num_layers) {
      return errors::InvalidArgument(
          absl::StrCat("--layer ", layer, ": the model has inputs of layers 1 to ", checkpoint->config().num_layers));
    }
  }
  ILRE_ASSIGN_OR_RETURN(const auto tokenizer, Tokenizer::Create(checkpoint->tokenizer()));
  ILRE_ASSIGN_OR_RETURN(const ChatTemplate chat, MakeChatTemplate(*tokenizer));
  DecoderOptions options;
  options.device = settings.device;
  options.num_layers = *std::max_element(arguments.layers.begin(), arguments.layers.end());
  ILRE_ASSIGN_OR_RETURN(const auto decoder, Decoder::Load(*checkpoint, options));

  RetrievalProfile profile = BaseProfile(*checkpoint, *tokenizer, chat, arguments,
                                         *std::max_element(arguments.layers.begin(), arguments.layers.end()));
  for (const int layer : arguments.layers) {
    ILRE_ASSIGN_OR_RETURN(RetrievalHead head,
                          TrainLayer(*decoder, *tokenizer, profile, layer, data, arguments.training));
    head.weight = 1.0f / static_cast<float>(arguments.layers.size());
    profile.heads.push_back(std::move(head));
  }
  ILRE_RETURN_IF_ERROR(profile.Validate(checkpoint->config()));
  ILRE_ASSIGN_OR_RETURN(const auto recall,
                        MeasureRecall(*decoder, *tokenizer, profile, data.held_out, {128, 256, 512}));
  std::printf("Held-out recall of %zu questions (segments that hold the answer):\n", data.held_out.questions.size());
  std::printf("  budget   profile   heads alone   BM25 alone\n");
  for (const RecallAtBudget& at : recall) {
    std::printf("  %6d   %7.3f   %11.3f   %10.3f\n", at.budget, at.fused, at.heads, at.bm25);
  }
  ILRE_RETURN_IF_ERROR(SaveProfile(profile, arguments.output));
  std::printf("Written: %s\n", arguments.output.c_str());
  return absl::OkStatus();
}

}  // namespace ilre::cli
