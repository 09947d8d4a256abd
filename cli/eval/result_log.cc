#include "cli/eval/result_log.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "cli/json_output.h"
#include "common/base/errors.h"
#include "common/base/status_macros.h"

namespace ilre::cli {
namespace {

Json ToJson(const EvalResult& result) {
  return {{"task", result.task},
          {"mode", result.mode},
          {"length", result.length},
          {"index", result.index},
          {"budget", result.budget},
          {"score", result.score},
          {"needles", result.needles},
          {"recalled", result.recalled},
          {"context_tokens", result.context_tokens},
          {"recalled_tokens", result.recalled_tokens},
          {"prompt_tokens", result.prompt_tokens},
          {"document_tokens", result.document_tokens},
          {"looks", result.looks},
          {"retrieval_ms", result.retrieval_ms},
          {"answer", result.answer}};
}

// False where `line` is no result.
bool FromJson(const std::string& line, EvalResult* result) {
  const Json json = Json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return false;
  const Json pattern = ToJson({});
  for (const auto& [field, value] : pattern.items()) {
    if (!json.contains(field) || json[field].is_string() != value.is_string()) return false;
    if (value.is_number() && !json[field].is_number()) return false;
  }
  json["task"].get_to(result->task);
  json["mode"].get_to(result->mode);
  json["length"].get_to(result->length);
  json["index"].get_to(result->index);
  json["budget"].get_to(result->budget);
  json["score"].get_to(result->score);
  json["needles"].get_to(result->needles);
  json["recalled"].get_to(result->recalled);
  json["context_tokens"].get_to(result->context_tokens);
  json["recalled_tokens"].get_to(result->recalled_tokens);
  json["prompt_tokens"].get_to(result->prompt_tokens);
  json["document_tokens"].get_to(result->document_tokens);
  json["looks"].get_to(result->looks);
  json["retrieval_ms"].get_to(result->retrieval_ms);
  json["answer"].get_to(result->answer);
  return true;
}

}  // namespace

std::string EvalResult::Key() const { return absl::StrCat(task, "/", length, "/", index, "/", mode, "/", budget); }

absl::StatusOr<std::unique_ptr<ResultLog>> ResultLog::Open(const std::string& path, const std::string& settings) {
  std::unique_ptr<ResultLog> log(new ResultLog);
  ILRE_ASSIGN_OR_RETURN(log->log_, LineLog::Open(path, settings, "EVAL_OTHER_SETTINGS"));
  const std::vector<std::string>& lines = log->log_->lines();
  for (size_t i = 0; i < lines.size(); ++i) {
    EvalResult result;
    if (!FromJson(lines[i], &result)) return log->log_->Damaged(i, "EVAL_LOG_DAMAGED");
    log->keys_.insert(result.Key());
    log->results_.push_back(std::move(result));
  }
  return log;
}

absl::Status ResultLog::Append(const EvalResult& result) {
  ILRE_RETURN_IF_ERROR(log_->Append(DumpLine(ToJson(result))));
  keys_.insert(result.Key());
  results_.push_back(result);
  return absl::OkStatus();
}

}  // namespace ilre::cli
