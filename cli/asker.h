// Answers questions for `ilre ask`: in this process, or by a server.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "cli/ask_command.h"
#include "cli/settings.h"
#include "common/store/records.h"
#include "generator_service/generator.h"
#include "retriever_service/retriever.h"

namespace ilre::cli {

// One question over some documents.
struct Question {
  std::vector<std::string> documents;  // names as on the command line
  std::string collection, text, instruction, answer_prefix;
  int budget = 0, max_tokens = 0;
  bool one_look = false;
};

struct Answer {
  std::vector<DocumentRow> documents;  // of a server's: those with spans, and only their names
  Retrieval retrieval;
  Generation generation;
  int prompt_tokens = 0;
  double first_token_ms = 0, total_ms = 0;  // from the question
};

class Asker {
 public:
  virtual ~Asker() = default;

  // on_spans, if any, is called when the spans are known; `emit`, if any, with each piece of the answer.
  virtual absl::StatusOr<Answer> Ask(const Question& question, const std::function<void(const Answer&)>& on_spans,
                                     const std::function<absl::Status(absl::string_view)>& emit) const = 0;

  // Writes a page about `answer` to `path`, after scoring everything once more.
  virtual absl::Status WriteReport(const Question& question, const Answer& answer, const std::string& path) const = 0;

  // Spent before the first question.
  virtual double load_ms() const = 0;
};

// Opens store and model. `arguments` must outlive it.
absl::StatusOr<std::unique_ptr<Asker>> OpenLocalAsker(const Settings& settings, const AskArguments& arguments);

// Speaks to the server of settings.server. `arguments` must outlive it.
absl::StatusOr<std::unique_ptr<Asker>> OpenRemoteAsker(const Settings& settings, const AskArguments& arguments);

}  // namespace ilre::cli
