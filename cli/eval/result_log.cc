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

Json ModeLine(const std::string& mode, const std::string& settings) {
  return {{"mode", mode}, {"settings", Json::parse(settings)}};
}

// False where `line` does not say what a mode depends on.
bool ReadModeLine(const std::string& line, std::string* mode, std::string* settings) {
  const Json json = Json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object() || json.size() != 2 || !json.contains("settings")) return false;
  if (!json.contains("mode") || !json["mode"].is_string()) return false;
  json["mode"].get_to(*mode);
  *settings = DumpLine(json["settings"]);
  return true;
}

}  // namespace

std::string EvalResult::Key() const { return absl::StrCat(task, "/", length, "/", index, "/", mode, "/", budget); }

absl::StatusOr<std::unique_ptr<ResultLog>> ResultLog::Open(const std::string& path, const std::string& settings) {
  std::unique_ptr<ResultLog> log(new ResultLog);
  log->path_ = path;
  ILRE_ASSIGN_OR_RETURN(log->log_, LineLog::Open(path, settings, "EVAL_OTHER_SETTINGS"));
  const std::vector<std::string>& lines = log->log_->lines();
  for (size_t i = 0; i < lines.size(); ++i) {
    std::string mode, mode_settings;
    if (ReadModeLine(lines[i], &mode, &mode_settings)) {
      log->modes_[mode] = mode_settings;
      continue;
    }
    EvalResult result;
    if (!FromJson(lines[i], &result)) return log->log_->Damaged(i, "EVAL_LOG_DAMAGED");
    log->keys_.insert(result.Key());
    log->results_.push_back(std::move(result));
  }
  return log;
}

absl::Status ResultLog::SetMode(const std::string& mode, const std::string& settings) {
  const auto [known, is_new] = modes_.insert({mode, settings});
  if (is_new) return log_->Append(DumpLine(ModeLine(mode, settings)));
  if (known->second == settings) return absl::OkStatus();
  return MakeError(absl::StatusCode::kFailedPrecondition, "EVAL_OTHER_SETTINGS",
                   absl::StrCat(path_, ": mode ", mode, " was begun with ", known->second, "; now it is ", settings));
}

absl::Status ResultLog::Append(const EvalResult& result) {
  ILRE_RETURN_IF_ERROR(log_->Append(DumpLine(ToJson(result))));
  keys_.insert(result.Key());
  results_.push_back(result);
  return absl::OkStatus();
}

}  // namespace ilre::cli
