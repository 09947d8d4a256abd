#include "cli/ask_command.h"

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <functional>
#include <iostream>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cli/asker.h"
#include "cli/document_name.h"
#include "cli/interrupt.h"
#include "cli/json_output.h"
#include "cli/progress.h"
#include "common/base/errors.h"
#include "common/base/status_macros.h"
#include "common/base/utf8.h"
#include "generator_service/prompt.h"

namespace ilre::cli {
namespace {

constexpr size_t kMaxBatchLine = 1 << 20;

std::string NameOf(const Answer& answer, const RecalledSpan& span) {
  const DocumentRow& row = answer.documents[span.document];
  return absl::StrCat(row.collection, "/", row.document);
}

// null where no words were counted.
Json WordCountsJson(const WordCounts& counts) {
  if (counts.words.empty()) return nullptr;
  Json words = Json::array();
  for (const WordCounts::Word& word : counts.words) words.push_back({{"word", word.word}, {"count", word.count}});
  return {{"words", std::move(words)}, {"total", counts.total}};
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
  json["word_counts"] = WordCountsJson(answer.retrieval.word_counts);
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

void PrintWordCounts(const WordCounts& counts) {
  if (counts.words.empty()) return;
  std::printf("Words were counted, %s in all:", WithCommas(counts.total).c_str());
  for (const WordCounts::Word& word : counts.words) {
    std::printf("%s %s %s", &word == counts.words.data() ? "" : ",", OneLine(word.word, 64).c_str(),
                WithCommas(word.count).c_str());
  }
  std::printf("\n");
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
  PrintWordCounts(retrieval.word_counts);
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
      ILRE_RETURN_IF_ERROR(ParseDocumentName(name, question.collection, /*allow_all=*/true).status());
    }
  }
  InstallInterruptHandler();
  ILRE_ASSIGN_OR_RETURN(const auto asker, settings.server.empty() ? OpenLocalAsker(settings, arguments)
                                                                  : OpenRemoteAsker(settings, arguments));
  if (!arguments.batch_file.empty()) return AskBatch(*asker, arguments.batch_file, question);
  return AskOne(*asker, question, arguments);
}

}  // namespace ilre::cli
