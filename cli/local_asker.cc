#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "cli/asker.h"
#include "cli/document_name.h"
#include "cli/interrupt.h"
#include "cli/loaded_model.h"
#include "cli/report/ask_report.h"
#include "cli/report/report_page.h"
#include "common/base/errors.h"
#include "common/base/file.h"
#include "common/base/status_macros.h"
#include "common/model/chat_template.h"
#include "common/store/key_store.h"
#include "generator_service/prompt.h"
#include "retriever_service/document_search.h"

namespace ilre::cli {
namespace {

using Clock = std::chrono::steady_clock;

double MsSince(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

// Store and model, opened once for all questions.
class LocalAsker final : public Asker {
 public:
  static absl::StatusOr<std::unique_ptr<Asker>> Open(const Settings& settings, const AskArguments& arguments) {
    auto asker = std::make_unique<LocalAsker>();
    ILRE_ASSIGN_OR_RETURN(const std::string data_dir, DataDirectory(settings));
    ILRE_ASSIGN_OR_RETURN(asker->store_, OpenKeyStoreFollower(data_dir, {}));
    const bool answers = arguments.max_tokens > 0 || !arguments.batch_file.empty();
    ILRE_ASSIGN_OR_RETURN(asker->model_, LoadModel(settings, answers ? Layers::kAll : Layers::kForRetrieval));
    asker->retriever_ = std::make_unique<Retriever>(*asker->model_.retrieval, *asker->store_);
    asker->generator_ = std::make_unique<Generator>(*asker->model_.decoder, *asker->model_.tokenizer);
    ILRE_ASSIGN_OR_RETURN(asker->chat_, MakeChatTemplate(*asker->model_.tokenizer));
    asker->arguments_ = &arguments;
    return asker;
  }

  absl::StatusOr<Answer> Ask(const Question& question, const std::function<void(const Answer&)>& on_spans,
                             const std::function<absl::Status(absl::string_view)>& emit) const override {
    const auto start = Clock::now();
    Answer answer;
    ILRE_ASSIGN_OR_RETURN(const std::vector<SearchTarget> targets, TargetsOf(question));
    RetrieveOptions options;
    options.budget = question.budget;
    options.one_look = question.one_look;
    options.should_stop = [] { return Interrupted(); };
    ILRE_ASSIGN_OR_RETURN(DocumentSearch search,
                          SearchDocuments(*retriever_, *store_, targets, question.text, options));
    answer.documents = std::move(search.documents);
    answer.retrieval = std::move(search.retrieval);
    if (on_spans) on_spans(answer);
    if (question.max_tokens > 0) ILRE_RETURN_IF_ERROR(Generate(question, start, emit, &answer));
    answer.total_ms = MsSince(start);
    return answer;
  }

  double load_ms() const override { return model_.load_ms; }

  absl::Status WriteReport(const Question& question, const Answer& answer, const std::string& path) const override {
    ILRE_ASSIGN_OR_RETURN(AskReport report,
                          CollectReport(*retriever_, *store_, answer.documents, question.text, answer.retrieval));
    report.answer = answer.generation.text;
    if (question.max_tokens > 0) report.finish_reason = std::string(FinishReasonName(answer.generation.reason));
    report.prompt_tokens = answer.prompt_tokens;
    report.answer_tokens = answer.generation.num_tokens;
    report.load_ms = load_ms();
    report.prefill_ms = answer.generation.prefill_ms;
    report.first_token_ms = answer.first_token_ms;
    report.total_ms = answer.total_ms;
    return Annotate(WriteFileAtomically(path, RenderReport(report)), absl::StrCat("cannot write the report ", path));
  }

 private:
  static absl::StatusOr<std::vector<SearchTarget>> TargetsOf(const Question& question) {
    std::vector<SearchTarget> targets;
    for (const std::string& text : question.documents) {
      ILRE_ASSIGN_OR_RETURN(const DocumentName name, ParseDocumentName(text, question.collection, /*allow_all=*/true));
      targets.push_back({name.collection, name.document == kAllDocuments ? "" : name.document, name.ToString()});
    }
    if (targets.empty()) targets.push_back({question.collection, "", question.collection});
    return targets;
  }

  absl::Status Generate(const Question& question, Clock::time_point start,
                        const std::function<absl::Status(absl::string_view)>& emit, Answer* answer) const {
    PromptParts parts;
    parts.instruction = question.instruction;
    parts.question = question.text;
    parts.answer_prefix = question.answer_prefix;
    for (const RecalledSpan& span : answer->retrieval.spans) {
      if (!span.in_prompt) continue;
      parts.context.push_back({.text = span.text, .ids = span.ids, .after_gap = !parts.context.empty()});
      if (answer->documents.size() > 1) {
        const DocumentRow& row = answer->documents[span.document];
        parts.context.back().document = absl::StrCat(row.collection, "/", row.document);
      }
    }
    const std::vector<TokenId> prompt = BuildPrompt(*model_.tokenizer, chat_, parts);
    answer->prompt_tokens = static_cast<int>(prompt.size());
    GenerateOptions options;
    options.max_tokens = question.max_tokens;
    options.stop = arguments_->stop;
    options.sampling = arguments_->sampling;
    options.should_stop = [] { return Interrupted(); };
    const double before_ms = MsSince(start);
    ILRE_ASSIGN_OR_RETURN(answer->generation, generator_->Generate(prompt, options, emit));
    answer->first_token_ms = before_ms + answer->generation.first_token_ms;
    return absl::OkStatus();
  }

  const AskArguments* arguments_ = nullptr;
  std::unique_ptr<KeyStoreReader> store_;
  LoadedModel model_;
  std::unique_ptr<Retriever> retriever_;
  std::unique_ptr<Generator> generator_;
  ChatTemplate chat_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Asker>> OpenLocalAsker(const Settings& settings, const AskArguments& arguments) {
  return LocalAsker::Open(settings, arguments);
}

}  // namespace ilre::cli
