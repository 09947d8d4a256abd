#include "cli/eval/evaluator.h"

#include <stdlib.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>

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

constexpr int kWindowSinks = 32;  // tokens from the document's beginning in mode "window"

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

bool Retrieves(const std::string& mode) { return mode != "full" && mode != "window"; }

absl::StatusOr<std::string> MakeTemporaryFolder() {
  std::error_code error;
  std::string path = (std::filesystem::temp_directory_path(error) / "ilre-eval-XXXXXX").string();
  if (error || ::mkdtemp(path.data()) == nullptr) return ErrnoError(errno, "cannot make a temporary folder");
  return path;
}

}  // namespace

struct Evaluator::Context {
  std::vector<RecalledSpan> spans;  // those in the prompt
  std::vector<ByteRange> in_prompt, recalled;
  int recalled_tokens = 0, looks = 0;
  int document_tokens = 0;
  double retrieval_ms = 0;
};

struct Evaluator::StoredDocument {
  ~StoredDocument() {
    store.reset();
    std::error_code ignored;
    std::filesystem::remove_all(folder, ignored);
  }
  std::string folder;
  std::unique_ptr<KeyStore> store;
  DocumentRow row;
};

const std::vector<std::string>& EvalModes() {
  static const auto* const modes =
      new std::vector<std::string>{"default", "one-look", "no-lexical", "bm25", "paper", "full", "window"};
  return *modes;
}

Evaluator::Evaluator() = default;
Evaluator::~Evaluator() = default;

absl::StatusOr<std::unique_ptr<Evaluator>> Evaluator::Open(const Settings& settings,
                                                           const std::vector<std::string>& modes,
                                                           const EvaluatorOptions& options) {
  std::unique_ptr<Evaluator> evaluator(new Evaluator);
  evaluator->options_ = options;
  const bool paper = std::count(modes.begin(), modes.end(), "paper") > 0;  // it may need deeper layers
  ILRE_ASSIGN_OR_RETURN(evaluator->model_,
                        LoadModel(settings, options.answers || paper ? Layers::kAll : Layers::kForRetrieval));
  const LoadedModel& model = evaluator->model_;
  ILRE_ASSIGN_OR_RETURN(evaluator->chat_, MakeChatTemplate(*model.tokenizer));
  evaluator->generator_ = std::make_unique<Generator>(*model.decoder, *model.tokenizer);
  for (const std::string& mode : modes) {
    if (!Retrieves(mode)) continue;
    RetrievalProfile profile = model.retrieval->profile();
    if (mode == "paper") {
      if (options.paper_profile.empty()) return errors::InvalidArgument("mode paper needs --paper-profile FILE.json");
      ILRE_ASSIGN_OR_RETURN(profile, LoadProfile(options.paper_profile));
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

absl::StatusOr<Evaluator::StoredDocument*> Evaluator::Stored(const std::string& document, const RetrievalModel& model) {
  std::unique_ptr<StoredDocument>& slot = stored_[model.encoding_fingerprint()];
  if (slot != nullptr) return slot.get();
  auto stored = std::make_unique<StoredDocument>();
  ILRE_ASSIGN_OR_RETURN(stored->folder, MakeTemporaryFolder());
  ILRE_ASSIGN_OR_RETURN(stored->store, OpenKeyStore(stored->folder + "/store", {}));
  IngestOptions options;
  options.should_stop = [] { return Interrupted(); };
  ILRE_ASSIGN_OR_RETURN(const auto ingest,
                        DocumentIngest::Begin(*stored->store, model, "eval", "document", false, options));
  ILRE_RETURN_IF_ERROR(ingest->Write(document));
  ILRE_RETURN_IF_ERROR(ingest->Finish());
  stored->row = ingest->row();
  slot = std::move(stored);
  return slot.get();
}

absl::StatusOr<Evaluator::Context> Evaluator::Retrieve(const Sample& sample, const RetrievalModel& model, int budget) {
  ILRE_ASSIGN_OR_RETURN(StoredDocument * stored, Stored(sample.document, model));
  RetrieveOptions options;
  options.budget = budget;
  options.should_stop = [] { return Interrupted(); };
  const Retriever retriever(model, *stored->store);
  ILRE_ASSIGN_OR_RETURN(Retrieval retrieval, retriever.Retrieve({stored->row}, sample.question, options));
  Context context;
  context.recalled_tokens = retrieval.recalled_tokens;
  context.looks = retrieval.looks;
  context.document_tokens = static_cast<int>(retrieval.document_tokens);
  context.retrieval_ms = retrieval.query_ms + retrieval.score_ms + retrieval.second_look_ms + retrieval.rerank_ms;
  for (RecalledSpan& span : retrieval.spans) {
    context.recalled.push_back({span.byte_begin, span.byte_end});
    if (!span.in_prompt) continue;
    context.in_prompt.push_back({span.byte_begin, span.byte_end});
    context.spans.push_back(std::move(span));
  }
  return context;
}

Evaluator::Context Evaluator::WholeDocument(const Sample& sample) const {
  Context context;
  RecalledSpan& span = context.spans.emplace_back();
  span.text = sample.document;
  span.ids = model_.tokenizer->EncodeIds(sample.document, SpecialTokens::kPlainText, TextPosition::kContinued);
  context.in_prompt = context.recalled = {{0, sample.document.size()}};
  context.recalled_tokens = context.document_tokens = static_cast<int>(span.ids.size());
  return context;
}

Evaluator::Context Evaluator::Window(const Sample& sample, int budget) const {
  const auto tokens = model_.tokenizer->Encode(sample.document, SpecialTokens::kPlainText, TextPosition::kContinued);
  const size_t n = tokens.ids.size();
  const size_t first = std::min<size_t>({n, kWindowSinks, static_cast<size_t>(budget) / 2});
  const size_t last = std::min(n - first, static_cast<size_t>(budget) - first);
  Context context;
  context.document_tokens = static_cast<int>(n);
  context.recalled_tokens = static_cast<int>(first + last);
  for (const auto& [begin, end] : {std::pair<size_t, size_t>{0, first}, {n - last, n}}) {
    if (begin == end) continue;
    const uint64_t byte_begin = begin == 0 ? 0 : tokens.ends[begin - 1], byte_end = tokens.ends[end - 1];
    RecalledSpan& span = context.spans.emplace_back();
    span.text = sample.document.substr(byte_begin, byte_end - byte_begin);
    span.ids.assign(tokens.ids.begin() + static_cast<std::ptrdiff_t>(begin),
                    tokens.ids.begin() + static_cast<std::ptrdiff_t>(end));
    context.in_prompt.push_back({byte_begin, byte_end});
  }
  context.recalled = context.in_prompt;
  return context;
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
  if (sample.document != document_) {
    stored_.clear();
    answers_.clear();
    document_ = sample.document;
  }
  Context context;
  if (mode == "full") {
    context = WholeDocument(sample);
  } else if (mode == "window") {
    context = Window(sample, budget);
  } else {
    ILRE_ASSIGN_OR_RETURN(context, Retrieve(sample, *models_.at(mode), budget));
  }
  PromptParts parts;
  parts.question = sample.question;
  parts.instruction = sample.instruction;
  parts.answer_prefix = sample.answer_prefix;
  if (!sample.preamble.empty()) parts.context.push_back({.text = sample.preamble});
  EvalResult result{
      .task = sample.task, .mode = mode, .length = sample.length, .index = sample.index, .budget = budget};
  for (const RecalledSpan& span : context.spans) {
    parts.context.push_back({.text = span.text, .ids = span.ids, .after_gap = result.context_tokens > 0});
    result.context_tokens += static_cast<int>(span.ids.size());
  }
  const std::vector<TokenId> prompt = BuildPrompt(*model_.tokenizer, chat_, parts);
  const int64_t needed = static_cast<int64_t>(prompt.size()) + sample.max_answer_tokens;
  if (mode == "full" && needed > model_.checkpoint->config().context_length) return absl::optional<EvalResult>();
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
