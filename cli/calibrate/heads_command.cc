#include "cli/calibrate/heads_command.h"

#include <algorithm>
#include <cstdio>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "cli/calibrate/base_profile.h"
#include "cli/calibrate/head_results.h"
#include "cli/calibrate/head_texts.h"
#include "cli/calibrate/heads_page.h"
#include "cli/calibrate/held_out_recall.h"
#include "cli/content_digest.h"
#include "cli/interrupt.h"
#include "cli/json_output.h"
#include "cli/line_log.h"
#include "cli/progress.h"
#include "common/base/errors.h"
#include "common/base/file.h"
#include "common/base/status_macros.h"

namespace ilre::cli {
namespace {

constexpr int kShortlist = 4096;  // tokens that the rerank looks at again
// Sizes and shares of the published pooling; its own are not known.
const std::vector<RetrievalProfile::Attention::Kernel>& PublishedKernels() {
  static const auto* kernels =
      new std::vector<RetrievalProfile::Attention::Kernel>{{1, 128}, {7, 128}, {31, 128}, {129, 128}};
  return *kernels;
}

// Texts in the order of their turns: every kind and length has one early.
std::vector<HeadResult> PlanTexts(const CalibrateArguments& arguments) {
  std::vector<HeadResult> plan;
  for (int index = 0; index < arguments.texts; ++index) {
    for (const int length : arguments.lengths) {
      plan.push_back({.kind = "needles", .length = length, .index = index, .recall = {}});
      if (index == 0) plan.push_back({.kind = "questions", .length = length, .index = index, .recall = {}});
    }
  }
  return plan;
}

TrainingText MakeText(const HeadResult& wanted, const Tokenizer& tokenizer, const SplitSquad& articles,
                      const CalibrateArguments& arguments) {
  const uint64_t seed = arguments.training.seed * 1000003 + static_cast<uint64_t>(wanted.length) * 1009 +
                        static_cast<uint64_t>(wanted.index);
  if (wanted.kind == "questions") {
    return QuestionText(tokenizer, seed, wanted.length, arguments.questions, articles.training);
  }
  return NeedleText(tokenizer, seed, wanted.length, arguments.questions,
                    SentencesOf(JoinArticles(articles.training).text));
}

// What is known already, of what will be.
absl::StatusOr<std::vector<HeadResult>> ReadResults(const LineLog& log, const ModelConfig& config, int num_layers) {
  std::vector<HeadResult> results;
  for (size_t i = 0; i < log.lines().size(); ++i) {
    auto result = ParseHeadResult(log.lines()[i], static_cast<size_t>(num_layers),
                                  static_cast<size_t>(config.num_heads), static_cast<size_t>(config.num_kv_heads));
    if (!result.ok()) {
      return log.Damaged(i, "CALIBRATE_LOG_DAMAGED");
    }
    results.push_back(*std::move(result));
  }
  return results;
}

absl::StatusOr<std::unique_ptr<LineLog>> OpenLog(const CalibrateArguments& arguments, const Checkpoint& checkpoint) {
  ILRE_RETURN_IF_ERROR(CreateFolders(arguments.work));
  ILRE_ASSIGN_OR_RETURN(const std::string squad, FilesDigest(arguments.squad_files));
  return LineLog::Open(absl::StrCat(arguments.work, "/heads.jsonl"),
                       DumpLine({{"model", checkpoint.fingerprint()},
                                 {"squad", squad},
                                 {"holdout", arguments.holdout},
                                 {"seed", arguments.training.seed},
                                 {"questions", arguments.questions},
                                 {"budget", arguments.budget}}),
                       "CALIBRATE_OTHER_SETTINGS");
}

// Scans what `results` lacks and adds it, in the order of the plan.
absl::Status ScanTexts(const Decoder& decoder, const Tokenizer& tokenizer, const RetrievalProfile& profile,
                       const SplitSquad& articles, const CalibrateArguments& arguments, LineLog* log,
                       std::vector<HeadResult>* results) {
  const std::vector<HeadResult> known = std::exchange(*results, {});
  const std::vector<HeadResult> plan = PlanTexts(arguments);
  uint64_t all_tokens = 0, tokens_before = 0;
  for (const HeadResult& wanted : plan) all_tokens += static_cast<uint64_t>(wanted.length);
  Progress progress("heads", all_tokens, 0);
  for (HeadResult wanted : plan) {
    const auto found = std::find_if(known.begin(), known.end(), [&](const auto& r) { return r.SameText(wanted); });
    if (found != known.end()) {
      results->push_back(*found);
    } else {
      const TrainingText text = MakeText(wanted, tokenizer, articles, arguments);
      ILRE_ASSIGN_OR_RETURN(
          wanted.recall,
          ScanHeads(decoder, tokenizer, profile, text, arguments.budget, PublishedKernels(), [&](double share) {
            const auto done = tokens_before + static_cast<uint64_t>(share * wanted.length);
            progress.Update(done, done);
            return !Interrupted();
          }));
      if (log != nullptr) ILRE_RETURN_IF_ERROR(log->Append(HeadResultLine(wanted)));
      results->push_back(std::move(wanted));
    }
    tokens_before += static_cast<uint64_t>(wanted.length);
  }
  return absl::OkStatus();
}

// The profile of one head, and of a later one that looks again.
RetrievalProfile ProfileOf(RetrievalProfile profile, const HeadChoice& choice, const HeadChoice& best, int head_dim) {
  RetrievalHead head;
  head.kind = RetrievalHead::Kind::kKey;
  head.layer = choice.layer;
  head.dim = head_dim;
  head.key_head = choice.key_head;
  head.query_heads = choice.query_heads;
  profile.heads = {std::move(head)};
  profile.scoring = RetrievalProfile::Scoring::kAttention;
  profile.lexical_postings = false;
  profile.lexical.weight = 0;
  profile.neighbour_weight = 0;
  profile.second_look.max_looks = 0;
  if (best.layer > choice.layer && best.query_heads.size() == 1) {
    profile.rerank = {.shortlist = kShortlist, .layer = best.layer, .query_head = best.query_heads[0]};
  }
  return profile;
}

std::string NameOf(const HeadChoice& choice) {
  return absl::StrCat("layer ", choice.layer, ", ", choice.query_heads.size() > 1 ? "query heads " : "query head ",
                      absl::StrJoin(choice.query_heads, "+"));
}

void PrintTable(const HeadsReport& report) {
  std::printf("Recall at %d tokens, of each layer: its best head, all its heads, and the published scoring\n",
              report.budget);
  for (const HeadsReport::Group& group : report.groups) {
    std::printf("%s, %d tokens, %d questions\n", group.kind.c_str(), group.length, group.questions);
    for (size_t i = 0; i < group.layers.size(); ++i) {
      const HeadRecall::Layer& layer = group.layers[i];
      const HeadChoice best = BestHead({layer});
      std::printf("  %3zu   %.3f (%s)   %.3f   %.3f\n", i, best.recall, absl::StrJoin(best.query_heads, "+").c_str(),
                  layer.all_heads, layer.published);
    }
  }
}

}  // namespace

absl::Status CalibrateHeads(const Settings& settings, const CalibrateArguments& arguments) {
  ILRE_ASSIGN_OR_RETURN(const auto files, ReadSplitSquads(arguments.squad_files, arguments.holdout));
  SplitSquad articles;
  for (const SplitSquad& file : files) {
    AppendArticles(file.training, &articles.training);
    AppendArticles(file.held_out, &articles.held_out);
  }
  ILRE_ASSIGN_OR_RETURN(const std::string model_path, ModelPath(settings));
  ILRE_ASSIGN_OR_RETURN(const auto checkpoint, Checkpoint::Open(model_path));
  ILRE_ASSIGN_OR_RETURN(const auto tokenizer, Tokenizer::Create(checkpoint->tokenizer()));
  DecoderOptions options;
  options.device = settings.device;
  ILRE_ASSIGN_OR_RETURN(const auto decoder, Decoder::Load(*checkpoint, options));
  const ModelConfig& config = decoder->config();
  const int num_layers = decoder->num_layers();
  ILRE_ASSIGN_OR_RETURN(const ChatTemplate chat, MakeChatTemplate(*tokenizer));
  RetrievalProfile profile = BaseProfile(*checkpoint, *tokenizer, chat, arguments, num_layers);
  if (decoder->device() == "cpu") profile.arithmetic = StreamArithmetic::kInt8;

  std::unique_ptr<LineLog> log;
  std::vector<HeadResult> results;
  if (!arguments.work.empty()) {
    ILRE_ASSIGN_OR_RETURN(log, OpenLog(arguments, *checkpoint));
    ILRE_ASSIGN_OR_RETURN(results, ReadResults(*log, config, num_layers));
  }
  ILRE_RETURN_IF_ERROR(ScanTexts(*decoder, *tokenizer, profile, articles, arguments, log.get(), &results));

  HeadsReport report{.model = checkpoint->fingerprint(), .budget = arguments.budget};
  for (const std::string kind : {"needles", "questions"}) {
    for (const int length : arguments.lengths) {
      HeadsReport::Group group{.kind = kind, .length = length, .layers = MeanRecall(results, kind, length)};
      for (const HeadResult& result : results) {
        if (result.kind == kind && result.length == length) group.questions += result.recall.questions;
      }
      if (!group.layers.empty()) report.groups.push_back(std::move(group));
    }
  }
  report.overall = OverallRecall(results);
  if (report.overall.empty()) return errors::InvalidArgument("calibrate: no text has a question");
  report.best = BestHead(report.overall);
  report.chosen = EarliestHead(report.overall, arguments.tolerance);
  report.published_layer = PublishedLayer(report.overall);
  report.bytes_per_token = config.head_dim * 2;
  PrintTable(report);
  std::printf("Best of all: %s, recall %.3f\n", NameOf(report.best).c_str(), report.best.recall);
  std::printf("Chosen: %s, recall %.3f (the earliest within %g)\n", NameOf(report.chosen).c_str(), report.chosen.recall,
              arguments.tolerance);
  std::printf("The published selection: layer %d, recall %.3f\n", report.published_layer,
              report.overall[static_cast<size_t>(report.published_layer)].published);

  profile = ProfileOf(std::move(profile), report.chosen, report.best, static_cast<int>(config.head_dim));
  ILRE_RETURN_IF_ERROR(profile.Validate(config));
  ILRE_ASSIGN_OR_RETURN(report.held_out,
                        MeasureRecall(*decoder, *tokenizer, profile, JoinArticles(articles.held_out), {128, 256, 512}));
  for (const RecallAtBudget& at : report.held_out) {
    std::printf("Held-out questions, budget %d: %.3f (first stage)\n", at.budget, at.fused);
  }
  ILRE_RETURN_IF_ERROR(SaveProfile(profile, arguments.output));
  std::printf("Written: %s\n", arguments.output.c_str());
  if (arguments.report.empty()) return absl::OkStatus();
  ILRE_RETURN_IF_ERROR(WriteFileAtomically(arguments.report, RenderHeadsPage(report)));
  std::printf("Report: %s\n", arguments.report.c_str());
  return absl::OkStatus();
}

}  // namespace ilre::cli
