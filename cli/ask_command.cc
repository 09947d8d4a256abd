#include "cli/ask_command.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <functional>
#include <iostream>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cli/document_name.h"
#include "cli/interrupt.h"
#include "cli/json_output.h"
#include "cli/loaded_model.h"
#include "cli/progress.h"
#include "cli/report/ask_report.h"
#include "cli/report/report_page.h"
#include "common/base/errors.h"
#include "common/base/file.h"
#include "common/base/status_macros.h"
#include "common/base/utf8.h"
#include "common/store/key_store.h"
#include "generator_service/generator.h"
#include "generator_service/prompt.h"
#include "retriever_service/retriever.h"

namespace ilre::cli {
namespace {

constexpr int kPageSize = 1000;
constexpr size_t kMaxBatchLine = 1 << 20;

// One question over some documents.
struct Question {
  std::vector<std::string> documents;
  std::string collection, text, instruction, answer_prefix;
  int budget, max_tokens;
  bool one_look = false;
};

struct Answer {
  std::vector<DocumentRow> documents;
  Retrieval retrieval;
  Generation generation;
  int prompt_tokens = 0;
  double first_token_ms = 0, total_ms = 0;  // from the question
};

using Clock = std::chrono::steady_clock;

double MsSince(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

// Store and model, opened once for all questions.
class Asker {
 public:
  static absl::StatusOr<std::unique_ptr<Asker>> Open(const Settings& settings, const AskArguments& arguments) {
    auto asker = std::make_unique<Asker>();
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

  // on_spans, if any, is called when the spans are known; `emit` with each piece of the answer.
  absl::StatusOr<Answer> Ask(const Question& question, const std::function<void(const Answer&)>& on_spans,
                             const std::function<absl::Status(absl::string_view)>& emit) const {
    const auto start = Clock::now();
    Answer answer;
    ILRE_ASSIGN_OR_RETURN(answer.documents, FindDocuments(question));
    RetrieveOptions options;
    options.budget = question.budget;
    options.one_look = question.one_look;
    options.should_stop = [] { return Interrupted(); };
    ILRE_ASSIGN_OR_RETURN(answer.retrieval, retriever_->Retrieve(answer.documents, question.text, options));
    if (on_spans) on_spans(answer);
    if (question.max_tokens > 0) ILRE_RETURN_IF_ERROR(Generate(question, start, emit, &answer));
    answer.total_ms = MsSince(start);
    return answer;
  }

  double load_ms() const { return model_.load_ms; }

  // Writes a page about `answer` to `path`, after scoring everything once more.
  absl::Status WriteReport(const Question& question, const Answer& answer, const std::string& path) const {
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
  absl::StatusOr<std::vector<DocumentRow>> FindDocuments(const Question& question) const {
    std::vector<DocumentRow> rows;
    for (const std::string& text : question.documents) {
      ILRE_ASSIGN_OR_RETURN(const DocumentName name, ParseDocumentName(text, question.collection));
      ILRE_ASSIGN_OR_RETURN(DocumentRow row, store_->GetDocument(name.collection, name.document));
      rows.push_back(std::move(row));
    }
    if (!question.documents.empty()) return rows;
    std::string after;
    do {
      ILRE_ASSIGN_OR_RETURN(const KeyStoreReader::Page page,
                            store_->ListDocuments(question.collection, kPageSize, after));
      for (const DocumentRow& row : page.rows) {
        if (row.state == DocumentState::kReady) rows.push_back(row);  // of a collection, what is there
      }
      after = page.next;
    } while (!after.empty());
    if (rows.empty()) {
      return MakeError(absl::StatusCode::kNotFound, "COLLECTION_EMPTY",
                       absl::StrCat("collection ", question.collection, " has no document that is ready"));
    }
    return rows;
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

std::string NameOf(const Answer& answer, const RecalledSpan& span) {
  const DocumentRow& row = answer.documents[span.document];
  return absl::StrCat(row.collection, "/", row.document);
}

Json AnswerJson(const Answer& answer, double load_ms) {
  Json json = {{"answer", answer.generation.text}, {"spans", Json::array()}};
  for (const RecalledSpan& span : answer.retrieval.spans) {
    json["spans"].push_back({{"document", NameOf(answer, span)},
                             {"token_begin", span.token_begin},
                             {"token_end", span.token_end},
                             {"byte_begin", span.byte_begin},
                             {"byte_end", span.byte_end},
                             {"score", span.score},
                             {"in_prompt", span.in_prompt},
                             {"text", span.text}});
  }
  json["prompt_tokens"] = answer.prompt_tokens;
  json["document_tokens"] = answer.retrieval.document_tokens;
  json["recalled_tokens"] = answer.retrieval.recalled_tokens;
  json["looks"] = answer.retrieval.looks;
  json["answer_tokens"] = answer.generation.num_tokens;
  json["finish_reason"] = answer.prompt_tokens > 0 ? std::string(FinishReasonName(answer.generation.reason)) : "";
  json["timings_ms"] = {{"load", load_ms},
                        {"query", answer.retrieval.query_ms},
                        {"score", answer.retrieval.score_ms},
                        {"second_look", answer.retrieval.second_look_ms},
                        {"rerank", answer.retrieval.rerank_ms},
                        {"prefill", answer.generation.prefill_ms},
                        {"first_token", answer.first_token_ms},
                        {"total", answer.total_ms}};
  return json;
}

// A span as one line for people: white space folded, what is not a character (a span may begin or end within one) and
// control characters as '?', cut after some bytes.
std::string OneLine(const std::string& text, size_t max_bytes) {
  std::string line;
  for (size_t i = 0; i < text.size() && line.size() < max_bytes;) {
    const size_t length = Utf8CharLength(absl::string_view(text).substr(i));
    const auto c = static_cast<unsigned char>(text[i]);
    if (c == ' ' || (c >= '\t' && c <= '\r')) {
      if (!line.empty() && line.back() != ' ') line += ' ';
    } else if (length == 0 || c < 0x20 || c == 0x7f) {
      line += '?';
    } else {
      line += text.substr(i, length);
    }
    i += std::max<size_t>(1, length);
  }
  return line.size() < max_bytes ? line : line + "...";
}

void PrintSpans(const Answer& answer) {
  std::printf("\n\nRecalled %s of %s tokens (* what the answer was made from):\n",
              WithCommas(static_cast<uint64_t>(answer.retrieval.recalled_tokens)).c_str(),
              WithCommas(answer.retrieval.document_tokens).c_str());
  for (const RecalledSpan& span : answer.retrieval.spans) {
    std::printf("%s %s [%s-%s] %.2f  %s\n", span.in_prompt ? " *" : "  ", NameOf(answer, span).c_str(),
                WithCommas(span.byte_begin).c_str(), WithCommas(span.byte_end).c_str(), span.score,
                OneLine(span.text, 160).c_str());
  }
}

absl::Status AskOne(const Asker& asker, const Question& question, const AskArguments& arguments) {
  const std::string& report_file = arguments.report_file;
  if (arguments.json) {
    ILRE_ASSIGN_OR_RETURN(const Answer answer, asker.Ask(question, nullptr, nullptr));
    std::printf("%s\n", DumpLine(AnswerJson(answer, asker.load_ms())).c_str());
    return report_file.empty() ? absl::OkStatus() : asker.WriteReport(question, answer, report_file);
  }
  const auto emit = [](absl::string_view text) {
    std::fwrite(text.data(), 1, text.size(), stdout);
    std::fflush(stdout);
    return absl::OkStatus();
  };
  ILRE_ASSIGN_OR_RETURN(const Answer answer, asker.Ask(question, nullptr, emit));
  PrintSpans(answer);
  const Retrieval& retrieval = answer.retrieval;
  std::printf(
      "Times in ms: load %.0f, question %.0f, scores %.0f, second look %.0f, rerank %.0f, first token %.0f, all %.0f\n",
      asker.load_ms(), retrieval.query_ms, retrieval.score_ms, retrieval.second_look_ms, retrieval.rerank_ms,
      answer.first_token_ms, answer.total_ms);
  if (report_file.empty()) return absl::OkStatus();
  ILRE_RETURN_IF_ERROR(asker.WriteReport(question, answer, report_file));
  std::printf("Report: %s\n", report_file.c_str());
  return absl::OkStatus();
}

// One line of a batch. Fields that it does not have are as on the command line.
absl::StatusOr<Question> ParseBatchLine(const std::string& line, const Question& defaults) {
  const Json json = Json::parse(line, nullptr, false);
  if (!json.is_object()) return errors::InvalidArgument("not a JSON object");
  Question question = defaults;
  for (const auto& [field, value] : json.items()) {
    const bool is_count = field == "budget" || field == "max_tokens";
    if (is_count              ? !value.is_number_unsigned() || value > 1 << 20
        : field == "one_look" ? !value.is_boolean()
                              : field != "documents" && !value.is_string()) {
      return errors::InvalidArgument(absl::StrCat("field ", field, " has a wrong value"));
    }
    if (field == "documents") {
      if (!value.is_array()) return errors::InvalidArgument("field documents is not a list");
      for (const Json& name : value) {
        if (!name.is_string()) return errors::InvalidArgument("field documents has an element that is no string");
        question.documents.push_back(name.get<std::string>());
      }
    } else if (field == "question") {
      question.text = value.get<std::string>();
    } else if (field == "collection") {
      question.collection = value.get<std::string>();
    } else if (field == "instruction") {
      question.instruction = value.get<std::string>();
    } else if (field == "answer_prefix") {
      question.answer_prefix = value.get<std::string>();
    } else if (field == "budget") {
      question.budget = value.get<int>();
    } else if (field == "one_look") {
      question.one_look = value.get<bool>();
    } else if (field == "max_tokens") {
      question.max_tokens = value.get<int>();
    } else {
      return errors::InvalidArgument(absl::StrCat("unknown field ", field));
    }
  }
  if (question.text.empty()) return errors::InvalidArgument("no question");
  if (question.documents.empty() && question.collection.empty()) return errors::InvalidArgument("no documents");
  return question;
}

absl::Status AskBatch(const Asker& asker, const std::string& path, const Question& defaults) {
  std::ifstream file;
  if (path != "-") {
    file.open(path);
    if (!file) return MakeError(absl::StatusCode::kNotFound, "FILE_NOT_FOUND", absl::StrCat("cannot open ", path));
  }
  std::istream& input = path == "-" ? static_cast<std::istream&>(std::cin) : file;
  std::string line;
  int64_t number = 0, asked = 0, failed = 0;  // lines; questions
  while (std::getline(input, line)) {
    ++number;
    if (line.empty()) continue;
    ++asked;
    if (line.size() > kMaxBatchLine) return errors::InvalidArgument(absl::StrCat(path, ":", number, ": line too long"));
    absl::StatusOr<Question> question = ParseBatchLine(line, defaults);
    absl::StatusOr<Answer> answer = question.ok() ? asker.Ask(*question, nullptr, nullptr) : question.status();
    if (absl::IsCancelled(answer.status())) return answer.status();
    if (answer.ok()) {
      std::printf("%s\n", DumpLine(AnswerJson(*answer, asker.load_ms())).c_str());
    } else {
      ++failed;
      std::printf("%s\n", DumpLine({{"error", std::string(answer.status().message())},
                                    {"code", absl::StatusCodeToString(answer.status().code())},
                                    {"reason", ErrorReason(answer.status())}})
                              .c_str());
      std::fprintf(stderr, "ilre: %s:%lld: %s\n", path.c_str(), static_cast<long long>(number),
                   std::string(answer.status().message()).c_str());
    }
    std::fflush(stdout);
  }
  if (input.bad()) return MakeError(absl::StatusCode::kInternal, "INPUT_OUTPUT", absl::StrCat("cannot read ", path));
  if (failed == 0) return absl::OkStatus();
  return MakeError(absl::StatusCode::kAborted, "BATCH_INCOMPLETE",
                   absl::StrCat(failed, " of ", asked, " questions failed"));
}

}  // namespace

absl::Status RunAsk(const Settings& settings, const AskArguments& arguments) {
  Question question;
  question.collection = arguments.collection;
  question.budget = arguments.budget;
  question.one_look = arguments.one_look;
  question.max_tokens = arguments.max_tokens;
  question.answer_prefix = arguments.answer_prefix;
  question.instruction = arguments.has_instruction ? arguments.instruction : kDefaultInstruction;
  if (arguments.batch_file.empty()) {
    question.documents.assign(arguments.words.begin(), arguments.words.end() - 1);
    question.text = arguments.words.back();
    for (const std::string& name : question.documents) {  // before seconds of loading
      ILRE_RETURN_IF_ERROR(ParseDocumentName(name, question.collection).status());
    }
  }
  InstallInterruptHandler();
  ILRE_ASSIGN_OR_RETURN(const auto asker, Asker::Open(settings, arguments));
  if (!arguments.batch_file.empty()) return AskBatch(*asker, arguments.batch_file, question);
  return AskOne(*asker, question, arguments);
}

}  // namespace ilre::cli
