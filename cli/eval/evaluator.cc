#include "cli/eval/evaluator.h"

#include <stdlib.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"
#include "cli/eval/scoring.h"
#include "cli/interrupt.h"
#include "common/base/errors.h"
#include "common/base/file.h"
#include "common/base/status_macros.h"
#include "encoder_service/document_ingest.h"
#include "generator_service/prompt.h"
#include "retriever_service/retriever.h"

namespace ilre::cli {
namespace {

// GemFilter's authors take layer 13 of the 32 of Llama 3.1: about this share of any model.
constexpr int64_t kGemFilterLayer = 13, kGemFilterLayers = 32;

absl::Status ChangeProfile(const std::string& mode, RetrievalProfile* profile) {
  if (mode == "one-look") {
    profile->second_look.max_looks = 0;
  } else if (mode == "no-lexical") {  // a second look follows words
    profile->lexical.weight = 0;
    profile->second_look.max_looks = 0;
  } else if (mode == "bm25") {
    if (!profile->lexical_postings) return errors::InvalidArgument("mode bm25: the profile stores no words");
    for (RetrievalHead& head : profile->heads) head.weight = 0;
    profile->lexical.weight = 1;
    profile->neighbour_weight = 0;
    profile->second_look.max_looks = 0;
    profile->rerank.shortlist = 0;
  }
  return absl::OkStatus();
}

bool Retrieves(const std::string& mode) { return mode != "full" && mode != "window" && !SelectsTokens(mode); }

// Runs of consecutive tokens, which are given in order, as ranges less `first`.
std::vector<std::pair<size_t, size_t>> RangesOf(const std::vector<int64_t>& tokens, int64_t first) {
  std::vector<std::pair<size_t, size_t>> ranges;
  for (const int64_t token : tokens) {
    const auto place = static_cast<size_t>(token - first);
    if (ranges.empty() || ranges.back().second != place) ranges.push_back({place, place});
    ranges.back().second = place + 1;
  }
  return ranges;
}

absl::StatusOr<std::string> MakeTemporaryFolder() {
  std::error_code error;
  std::string path = (std::filesystem::temp_directory_path(error) / "ilre-eval-XXXXXX").string();
  if (error || ::mkdtemp(path.data()) == nullptr) return ErrnoError(errno, "cannot make a temporary folder");
  return path;
}

}  // namespace

struct Evaluator::StoredDocuments {
  ~StoredDocuments() {
    store.reset();
    std::error_code ignored;
    std::filesystem::remove_all(folder, ignored);
  }
  std::string folder;
  std::unique_ptr<KeyStore> store;
  std::vector<DocumentRow> rows;
  std::vector<uint64_t> begins;  // [rows] in the sample's document
};

const std::vector<std::string>& EvalModes() {
  static const auto* const modes = new std::vector<std::string>{"default", "one-look", "no-lexical", "bm25",
                                                                "full",    "window",   "gemfilter",  "snapkv"};
  return *modes;
}

bool SelectsTokens(const std::string& mode) { return mode == "gemfilter" || mode == "snapkv"; }

Evaluator::Evaluator() = default;
Evaluator::~Evaluator() = default;

absl::StatusOr<std::unique_ptr<Evaluator>> Evaluator::Open(const Settings& settings,
                                                           const std::vector<std::string>& modes,
                                                           const EvaluatorOptions& options) {
  std::unique_ptr<Evaluator> evaluator(new Evaluator);
  evaluator->options_ = options;
  std::map<std::string, RetrievalProfile> compared;
  int layers = 0;  // that documents run through
  for (const auto& [mode, path] : options.compared) {
    ILRE_ASSIGN_OR_RETURN(compared[mode], LoadProfile(path));
    layers = std::max(layers, LayersForRetrieval(compared[mode]));
  }
  const bool whole = options.answers || std::any_of(modes.begin(), modes.end(), SelectsTokens);
  ILRE_ASSIGN_OR_RETURN(evaluator->model_, LoadModel(settings, whole ? Layers::kAll : Layers::kForRetrieval, layers));
  const LoadedModel& model = evaluator->model_;
  if (evaluator->AttentionLayer() >= model.checkpoint->config().num_layers) {
    return errors::InvalidArgument(absl::StrCat("the model has no layer ", options.attention_layer));
  }
  ILRE_ASSIGN_OR_RETURN(evaluator->chat_, MakeChatTemplate(*model.tokenizer));
  evaluator->generator_ = std::make_unique<Generator>(*model.decoder, *model.tokenizer);
  for (const std::string& mode : modes) {
    if (!Retrieves(mode) || options.chosen.count(mode) > 0) continue;
    const auto other = compared.find(mode);
    RetrievalProfile profile = other == compared.end() ? model.retrieval->profile() : other->second;
    if (other != compared.end()) {
      ILRE_RETURN_IF_ERROR(Annotate(profile.Validate(model.checkpoint->config()), options.compared.at(mode)));
    }
    ILRE_RETURN_IF_ERROR(ChangeProfile(mode, &profile));
    ILRE_ASSIGN_OR_RETURN(
        evaluator->models_[mode],
        RetrievalModel::Create(*model.decoder, *model.tokenizer, model.checkpoint->fingerprint(), std::move(profile)));
  }
  return evaluator;
}

std::string Evaluator::Fingerprint() const {
  const RetrievalProfile& profile = model_.retrieval->profile();
  return absl::StrCat(model_.checkpoint->fingerprint(), "-", model_.retrieval->encoding_fingerprint(), "-",
                      profile.name, options_.answers ? "" : "-recall-only");
}

absl::StatusOr<Evaluator::StoredDocuments*> Evaluator::Stored(const Sample& sample, const RetrievalModel& model) {
  std::unique_ptr<StoredDocuments>& slot = stored_[model.encoding_fingerprint()];
  if (slot != nullptr) return slot.get();
  auto stored = std::make_unique<StoredDocuments>();
  ILRE_ASSIGN_OR_RETURN(stored->folder, MakeTemporaryFolder());
  ILRE_ASSIGN_OR_RETURN(stored->store, OpenKeyStore(stored->folder + "/store", {}));
  IngestOptions options;
  options.should_stop = [] { return Interrupted(); };
  std::vector<uint64_t> ends = sample.document_ends;
  if (ends.empty()) ends.push_back(sample.document.size());
  uint64_t begin = 0;
  for (const uint64_t end : ends) {
    const std::string name = absl::StrCat("d", stored->rows.size() + 1);
    ILRE_ASSIGN_OR_RETURN(const auto ingest,
                          DocumentIngest::Begin(*stored->store, model, "eval", name, false, options));
    ILRE_RETURN_IF_ERROR(ingest->Write(absl::string_view(sample.document).substr(begin, end - begin)));
    ILRE_RETURN_IF_ERROR(ingest->Finish());
    stored->rows.push_back(ingest->row());
    stored->begins.push_back(std::exchange(begin, end));
  }
  slot = std::move(stored);
  return slot.get();
}

absl::StatusOr<EvalContext> Evaluator::Recall(const Sample& sample, const RetrievalModel& model, int budget) {
  ILRE_ASSIGN_OR_RETURN(StoredDocuments * stored, Stored(sample, model));
  RetrieveOptions options;
  options.budget = budget;
  options.should_stop = [] { return Interrupted(); };
  const Retriever retriever(model, *stored->store);
  ILRE_ASSIGN_OR_RETURN(Retrieval retrieval, retriever.Retrieve(stored->rows, sample.question, options));
  return RecalledContext(std::move(retrieval), stored->rows, stored->begins);
}

// Of the document's tokens the best by attention in the prompt that holds them all; question and instruction, which a
// rival might drop as well, stay whole.
absl::StatusOr<absl::optional<EvalContext>> Evaluator::SelectTokens(const Sample& sample, const Tokens& tokens,
                                                                    const std::string& mode, int budget) {
  const std::vector<TokenId> prompt =
      PromptOf(sample, ContextOfTokens(tokens, sample.document, {{0, tokens.ids.size()}}));
  if (!FitsModel(sample, prompt)) return absl::optional<EvalContext>();
  if (prompt != attended_prompt_) {
    ILRE_ASSIGN_OR_RETURN(attention_,
                          PrefillTo(*model_.decoder, prompt, AttentionLayer(), [] { return !Interrupted(); }));
    attended_prompt_ = prompt;
  }
  const auto begin = std::search(prompt.begin(), prompt.end(), tokens.ids.begin(), tokens.ids.end()) - prompt.begin();
  const std::vector<float> scores = mode == "snapkv" ? SnapKvScores(attention_) : GemFilterScores(attention_);
  const auto best = BestTokens(scores, begin, begin + static_cast<int64_t>(tokens.ids.size()), budget);
  EvalContext context = ContextOfTokens(tokens, sample.document, RangesOf(best, begin));
  context.marks_gaps = false;  // as published: the tokens alone
  return absl::optional<EvalContext>(std::move(context));
}

absl::StatusOr<absl::optional<EvalContext>> Evaluator::Choose(const Sample& sample, const std::string& mode,
                                                              int budget) {
  if (const auto other = options_.chosen.find(mode); other != options_.chosen.end()) {
    ILRE_ASSIGN_OR_RETURN(const std::vector<ByteRange> ranges, other->second.Of(sample, budget));
    return absl::optional<EvalContext>(ContextOfBytes(*model_.tokenizer, sample.document, ranges));
  }
  if (Retrieves(mode)) {
    ILRE_ASSIGN_OR_RETURN(EvalContext context, Recall(sample, *models_.at(mode), budget));
    return absl::optional<EvalContext>(std::move(context));
  }
  const Tokens tokens = model_.tokenizer->Encode(sample.document, SpecialTokens::kPlainText, TextPosition::kContinued);
  if (SelectsTokens(mode)) return SelectTokens(sample, tokens, mode, budget);
  if (mode == "window") return absl::optional<EvalContext>(WindowContext(tokens, sample.document, budget));
  EvalContext whole = ContextOfTokens(tokens, sample.document, {{0, tokens.ids.size()}});
  if (!FitsModel(sample, PromptOf(sample, whole))) return absl::optional<EvalContext>();
  return absl::optional<EvalContext>(std::move(whole));
}

std::vector<TokenId> Evaluator::PromptOf(const Sample& sample, const EvalContext& context) const {
  PromptParts parts;
  parts.context = PiecesOf(sample, context);
  parts.question = sample.question;
  parts.instruction = sample.instruction;
  parts.answer_prefix = sample.answer_prefix;
  return BuildPrompt(*model_.tokenizer, chat_, parts);
}

bool Evaluator::FitsModel(const Sample& sample, const std::vector<TokenId>& prompt) const {
  return static_cast<int64_t>(prompt.size()) + sample.max_answer_tokens <= model_.checkpoint->config().context_length;
}

int Evaluator::AttentionLayer() const {
  if (options_.attention_layer >= 0) return options_.attention_layer;
  return static_cast<int>(model_.checkpoint->config().num_layers * kGemFilterLayer / kGemFilterLayers);
}

// Greedy. Ends as soon as nothing that comes can make the answer better: all references are in it.
absl::StatusOr<std::string> Evaluator::Answer(const Sample& sample, const std::vector<TokenId>& prompt) {
  if (const auto known = answers_.find(prompt); known != answers_.end()) return known->second;
  GenerateOptions options;
  options.max_tokens = sample.max_answer_tokens;
  options.should_stop = [] { return Interrupted(); };
  std::string text;
  bool settled = false;
  const auto generation = generator_->Generate(prompt, options, [&](absl::string_view piece) {
    text.append(piece.data(), piece.size());
    settled = ScoreAnswer(text, sample.answers, sample.matching) >= 1;
    return settled ? absl::AbortedError("settled") : absl::OkStatus();
  });
  if (!settled) ILRE_RETURN_IF_ERROR(generation.status());
  answers_[prompt] = text;
  return text;
}

absl::StatusOr<absl::optional<EvalResult>> Evaluator::Evaluate(const Sample& sample, const std::string& mode,
                                                               int budget) {
  if (sample.document != document_ || sample.document_ends != document_ends_) {
    stored_.clear();
    answers_.clear();
    document_ = sample.document;
    document_ends_ = sample.document_ends;
  }
  ILRE_ASSIGN_OR_RETURN(const absl::optional<EvalContext> chosen, Choose(sample, mode, budget));
  if (!chosen.has_value()) return absl::optional<EvalResult>();
  const EvalContext& context = *chosen;
  EvalResult result{
      .task = sample.task, .mode = mode, .length = sample.length, .index = sample.index, .budget = budget};
  for (const EvalContext::Piece& piece : context.pieces) result.context_tokens += static_cast<int>(piece.ids.size());
  const std::vector<TokenId> prompt = PromptOf(sample, context);
  result.recalled_tokens = context.recalled_tokens;
  result.document_tokens = context.document_tokens;
  result.prompt_tokens = static_cast<int>(prompt.size());
  result.looks = context.looks;
  result.retrieval_ms = context.retrieval_ms;
  if (!sample.gold.empty()) {
    result.needles = ShareCovered(context.in_prompt, sample.gold);
    result.recalled = ShareCovered(context.recalled, sample.gold);
  }
  if (options_.answers) {
    ILRE_ASSIGN_OR_RETURN(result.answer, Answer(sample, prompt));
    result.score = ScoreAnswer(result.answer, sample.answers, sample.matching);
  }
  return absl::optional<EvalResult>(std::move(result));
}

}  // namespace ilre::cli
