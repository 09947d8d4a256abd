#include "cli/calibrate/train_command.h"

#include <algorithm>
#include <cstdio>
#include <memory>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "cli/calibrate/base_profile.h"
#include "cli/calibrate/early_stopping.h"
#include "cli/calibrate/held_out_recall.h"
#include "cli/calibrate/train_page.h"
#include "cli/calibrate/training_pools.h"
#include "cli/content_digest.h"
#include "common/base/errors.h"
#include "common/base/file.h"
#include "common/base/status_macros.h"
#include "common/model/chat_template.h"
#include "common/model/checkpoint.h"

namespace ilre::cli {
namespace {

constexpr float kNeedleWeight = 0.2f;  // of needle texts in the loss, beside 1 for questions
const std::vector<int> kBudgets = {128, 256, 512};

// "0,2" -> {0, 2}
absl::StatusOr<std::vector<int>> ParseLayers(const std::string& text) {
  std::vector<int> layers;
  for (const absl::string_view part : absl::StrSplit(text, ',')) {
    if (!absl::SimpleAtoi(part, &layers.emplace_back()) || layers.back() < 0 ||
        (layers.size() > 1 && layers[layers.size() - 2] >= layers.back())) {
      return errors::InvalidArgument(absl::StrCat("--pooled-layers ", text, ": not layers in ascending order"));
    }
  }
  return layers;
}

// Everything that a trained head depends on, but for the layers, which its name says.
absl::StatusOr<std::string> SettingsLine(const CalibrateArguments& arguments, const RetrievalProfile& profile,
                                         const Teacher* teacher) {
  ILRE_ASSIGN_OR_RETURN(const std::string squad, FilesDigest(arguments.squad_files));
  const int dim = *std::max_element(arguments.pooled_dims.begin(), arguments.pooled_dims.end());
  Json settings = {{"model", profile.model},
                   {"reading", profile.EncodingFingerprint()},
                   {"squad", squad},
                   {"holdout", arguments.holdout},
                   {"validation", arguments.validation},
                   {"needle_texts", arguments.needle_texts},
                   {"seed", arguments.training.seed},
                   {"dim", arguments.training.dim},
                   {"steps", arguments.training.steps},
                   {"learning_rate", arguments.training.learning_rate}};
  if (teacher != nullptr) {
    settings["teacher"] = teacher->digest();
    settings["pooled_dim"] = dim;
    settings["pooled_steps"] = arguments.pooled.steps;
  }
  return DumpLine(settings);
}

// What one run works with. All is set before Train.
struct Calibration {
  const CalibrateArguments& arguments;
  const Decoder& decoder;
  const Tokenizer& tokenizer;
  const CalibrationTexts& texts;
  const RetrievalProfile& base;  // without heads
  const CalibrationPools& pools;
  TrainingWork* work;

  absl::StatusOr<TrainedHead> Find(const std::string& name, Judge judge, const TrainFunction& train) const {
    return work->Find(name, base, [&] {
      return TrainWithEarlyStopping(name, judge, train, pools.has_validation() ? &pools.validation : nullptr,
                                    pools.held_out);
    });
  }

  absl::StatusOr<TrainedHead> Probe(int layer) const {
    return Find(absl::StrCat("probe-", layer), Judge::kRecall, [&, layer](bool all, const TrainingObserver& observe) {
      std::vector<WeightedPool> weighted = {{1.0f, {all ? &pools.training : &pools.part}}};
      if (!pools.needles.empty()) {
        weighted.push_back({kNeedleWeight, {}});
        for (const TrainingPool& pool : pools.needles) weighted.back().choices.push_back(&pool);
      }
      return TrainProbe(weighted, all ? pools.held_out : pools.validation, layer, arguments.training, observe);
    });
  }

  absl::StatusOr<TrainedHead> Pooled(const Teacher& teacher, const std::vector<int>& layers) const {
    PooledTrainingOptions options = arguments.pooled;
    options.dim = *std::max_element(arguments.pooled_dims.begin(), arguments.pooled_dims.end());
    options.seed = arguments.training.seed;
    const std::string name = absl::StrCat("pooled-", absl::StrJoin(layers, "-"));
    return Find(name, Judge::kLoss, [&](bool all, const TrainingObserver& observe) {
      PooledTrainingData data;
      data.labelled = teacher.Teach(all ? pools.training : pools.part);
      data.held_out = teacher.Teach(all ? pools.held_out : pools.validation);
      size_t segments = data.labelled.segments.size();
      auto all_segments = data.labelled.pool->num_segments();
      for (const TrainingPool& pool : pools.others) {
        data.others.push_back(teacher.Teach(pool));
        segments += data.others.back().segments.size();
        all_segments += pool.num_segments();
      }
      std::fprintf(stderr, "%s: the teacher has read %zu of %lld segments\n", name.c_str(), segments,
                   static_cast<long long>(all_segments));
      return TrainPooled(data, layers, options, observe);
    });
  }

  // The profile with these probes and, but for null, that pooled head cut to `dim`; of the heads that did not see the
  // validation articles, if `trial`.
  RetrievalProfile ProfileOf(const std::vector<TrainedHead>& probes, const TrainedHead* pooled, int dim,
                             bool trial) const {
    RetrievalProfile profile = base;
    for (const TrainedHead& probe : probes) {
      profile.heads.push_back(trial ? probe.trial : probe.head);
      profile.heads.back().weight = 1.0f / static_cast<float>(probes.size());
    }
    if (pooled != nullptr) profile.heads.push_back(WithFewerDims(trial ? pooled->trial : pooled->head, dim));
    SetWeights(arguments, pooled != nullptr, &profile);
    return profile;
  }

  absl::StatusOr<ProfileFigures> Measure(const std::vector<TrainedHead>& probes, const TrainedHead* pooled,
                                         int dim) const {
    const RetrievalProfile profile = ProfileOf(probes, pooled, dim, /*trial=*/false);
    ProfileFigures figures;
    if (pooled != nullptr) {
      figures.pooled_layers = pooled->head.layers;
      figures.pooled_dim = dim;
    }
    for (const RetrievalHead& head : profile.heads) {
      figures.layers_computed = std::max(figures.layers_computed, head.deepest_layer());
    }
    figures.bytes_per_token = BytesPerToken(profile.HeadFormats(), pools.held_out.segment_begins);
    std::fprintf(stderr, "measuring %s\n", figures.Name().c_str());
    ILRE_ASSIGN_OR_RETURN(figures.held_out, MeasureRecall(decoder, tokenizer, profile, texts.held_out, kBudgets));
    if (!pools.has_validation()) return figures;
    ILRE_ASSIGN_OR_RETURN(const auto validation, MeasureRecall(decoder, tokenizer, ProfileOf(probes, pooled, dim, true),
                                                               texts.validation, kBudgets));
    for (const RecallAtBudget& at : validation) {
      figures.validation_recall += at.fused / static_cast<double>(validation.size());
    }
    return figures;
  }
};

// Of those with a pooled head, if there are any, the cheapest that recalls at most `tolerance` less of the validation
// articles' answers than the best; without such articles the first.
size_t Choose(const std::vector<ProfileFigures>& candidates, double tolerance) {
  const size_t first = candidates.size() > 1 ? 1 : 0;
  double best = 0;
  for (size_t i = first; i < candidates.size(); ++i) best = std::max(best, candidates[i].validation_recall);
  size_t chosen = candidates.size();
  for (size_t i = first; i < candidates.size(); ++i) {
    if (candidates[i].validation_recall < best - tolerance) continue;
    const auto cost = [&](size_t at) {
      return std::make_pair(candidates[at].layers_computed, candidates[at].bytes_per_token);
    };
    if (chosen == candidates.size() || cost(i) < cost(chosen)) chosen = i;
  }
  return chosen;
}

void PrintCandidates(const TrainReport& report) {
  std::printf("Recalled of the answers of %d held-out questions, at %s tokens: each profile, its heads alone, BM25\n",
              report.questions, absl::StrJoin(kBudgets, " / ").c_str());
  for (size_t i = 0; i < report.candidates.size(); ++i) {
    const ProfileFigures& figures = report.candidates[i];
    const auto recall = [&](double RecallAtBudget::*member) {
      return absl::StrJoin(figures.held_out, " / ", [&](std::string* out, const RecallAtBudget& at) {
        absl::StrAppendFormat(out, "%.3f", at.*member);
      });
    };
    std::printf("%c %-44s %2d layers %4.0f B/token   %s   %s   %s\n", i == report.chosen ? '*' : ' ',
                figures.Name().c_str(), figures.layers_computed, figures.bytes_per_token,
                recall(&RecallAtBudget::fused).c_str(), recall(&RecallAtBudget::heads).c_str(),
                recall(&RecallAtBudget::bm25).c_str());
  }
}

// Trains what is asked for and measures it.
absl::Status TrainAndWrite(const Calibration& run, const Teacher* teacher,
                           const std::vector<std::vector<int>>& pooled_layers) {
  const CalibrateArguments& arguments = run.arguments;
  std::vector<TrainedHead> probes, pooled;
  for (const int layer : arguments.layers) {
    ILRE_ASSIGN_OR_RETURN(probes.emplace_back(), run.Probe(layer));
  }
  for (const std::vector<int>& layers : pooled_layers) {
    ILRE_ASSIGN_OR_RETURN(pooled.emplace_back(), run.Pooled(*teacher, layers));
  }
  TrainReport report;
  report.name = run.base.name;
  report.model = run.base.model;
  report.questions = static_cast<int>(run.texts.held_out.questions.size());
  report.trained = probes;
  report.trained.insert(report.trained.end(), pooled.begin(), pooled.end());
  ILRE_ASSIGN_OR_RETURN(report.candidates.emplace_back(), run.Measure(probes, nullptr, 0));
  std::vector<RetrievalProfile> profiles = {run.ProfileOf(probes, nullptr, 0, false)};
  for (const TrainedHead& head : pooled) {
    for (const int dim : arguments.pooled_dims) {
      ILRE_ASSIGN_OR_RETURN(report.candidates.emplace_back(), run.Measure(probes, &head, dim));
      profiles.push_back(run.ProfileOf(probes, &head, dim, false));
    }
  }
  report.chosen = Choose(report.candidates, arguments.tolerance);
  PrintCandidates(report);
  ILRE_RETURN_IF_ERROR(SaveProfile(profiles[report.chosen], arguments.output));
  std::printf("Written: %s (%s)\n", arguments.output.c_str(), report.candidates[report.chosen].Name().c_str());
  if (arguments.report.empty()) return absl::OkStatus();
  ILRE_RETURN_IF_ERROR(WriteFileAtomically(arguments.report, RenderTrainPage(report)));
  std::printf("Report: %s\n", arguments.report.c_str());
  return absl::OkStatus();
}

}  // namespace

absl::Status CalibrateTrain(const Settings& settings, const CalibrateArguments& arguments) {
  ILRE_ASSIGN_OR_RETURN(const CalibrationTexts texts, ReadCalibrationTexts(arguments));
  std::unique_ptr<Teacher> teacher;
  std::vector<std::vector<int>> pooled_layers;
  if (!arguments.teacher.empty()) {
    ILRE_ASSIGN_OR_RETURN(Teacher read, Teacher::Read(arguments.teacher));
    teacher = std::make_unique<Teacher>(std::move(read));
    for (const std::string& text : arguments.pooled_layers) {
      ILRE_ASSIGN_OR_RETURN(pooled_layers.emplace_back(), ParseLayers(text));
    }
    if (pooled_layers.empty()) pooled_layers.push_back({0, arguments.layers[0]});
  }
  std::vector<int> all_pooled;
  for (const auto& layers : pooled_layers) all_pooled.insert(all_pooled.end(), layers.begin(), layers.end());
  int depth = *std::max_element(arguments.layers.begin(), arguments.layers.end());
  for (const int layer : all_pooled) depth = std::max(depth, layer);

  ILRE_ASSIGN_OR_RETURN(const std::string model_path, ModelPath(settings));
  ILRE_ASSIGN_OR_RETURN(const auto checkpoint, Checkpoint::Open(model_path));
  const int num_layers = checkpoint->config().num_layers;
  if (depth > num_layers || *std::min_element(arguments.layers.begin(), arguments.layers.end()) < 1) {
    return errors::InvalidArgument(absl::StrCat("--layer, --pooled-layers: the model has inputs of layers 1 to ",
                                                num_layers, ", and of 0 for a pooled head"));
  }
  ILRE_ASSIGN_OR_RETURN(const auto tokenizer, Tokenizer::Create(checkpoint->tokenizer()));
  ILRE_ASSIGN_OR_RETURN(const ChatTemplate chat, MakeChatTemplate(*tokenizer));
  DecoderOptions options;
  options.device = settings.device;
  options.num_layers = depth;
  ILRE_ASSIGN_OR_RETURN(const auto decoder, Decoder::Load(*checkpoint, options));
  RetrievalProfile base = BaseProfile(*checkpoint, *tokenizer, chat, arguments, depth);
  if (decoder->device() == "cpu" && !arguments.bf16) base.arithmetic = StreamArithmetic::kInt8;

  ILRE_ASSIGN_OR_RETURN(const std::string line, SettingsLine(arguments, base, teacher.get()));
  ILRE_ASSIGN_OR_RETURN(const auto work, TrainingWork::Open(arguments.work, line));
  ILRE_ASSIGN_OR_RETURN(const CalibrationPools pools,
                        ReadCalibrationPools(*decoder, *tokenizer, base, texts, teacher.get(), arguments.layers,
                                             all_pooled, work->inputs_folder()));
  return TrainAndWrite({arguments, *decoder, *tokenizer, texts, base, pools, work.get()}, teacher.get(), pooled_layers);
}

}  // namespace ilre::cli
