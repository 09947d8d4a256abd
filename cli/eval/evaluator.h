// Answers samples in one of several modes, all with the same budget of tokens and the same prompt.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/optional.h"
#include "cli/eval/result_log.h"
#include "cli/eval/sample.h"
#include "cli/loaded_model.h"
#include "common/retrieval/retrieval_model.h"
#include "common/store/key_store.h"
#include "generator_service/generator.h"

namespace ilre::cli {

// Modes: "default" the profile as it is; "one-look" without its second look; "no-lexical" its vectors alone; "bm25"
// words alone, over the same segments and with the same cut of the prompt; "paper" another profile, by the published
// method; "full" the whole document, where it fits the model's context; "window" the first tokens and the last.
const std::vector<std::string>& EvalModes();

struct EvaluatorOptions {
  std::string paper_profile;  // of mode "paper"
  bool answers = true;        // false: only what is recalled is measured
};

// Not thread-safe. Keeps the last document it was asked about ingested, in a folder of its own that is gone with it.
class Evaluator {
 public:
  // Errors: those of loading, naming the file.
  static absl::StatusOr<std::unique_ptr<Evaluator>> Open(const Settings& settings,
                                                         const std::vector<std::string>& modes,
                                                         const EvaluatorOptions& options);
  ~Evaluator();

  // Nothing where the mode cannot answer this: "full" for a document longer than the model's context.
  absl::StatusOr<absl::optional<EvalResult>> Evaluate(const Sample& sample, const std::string& mode, int budget);

  const Tokenizer& tokenizer() const { return *model_.tokenizer; }
  // What results depend on beside sample and mode.
  std::string Fingerprint() const;

 private:
  struct Context;         // what goes into a prompt
  struct StoredDocument;  // an ingested one

  Evaluator();
  absl::StatusOr<Context> Retrieve(const Sample& sample, const RetrievalModel& model, int budget);
  Context WholeDocument(const Sample& sample) const;
  Context Window(const Sample& sample, int budget) const;
  absl::StatusOr<StoredDocument*> Stored(const std::string& document, const RetrievalModel& model);
  absl::StatusOr<std::string> Answer(const Sample& sample, const std::vector<TokenId>& prompt);

  EvaluatorOptions options_;
  LoadedModel model_;
  ChatTemplate chat_;
  std::unique_ptr<Generator> generator_;
  std::map<std::string, std::unique_ptr<RetrievalModel>> models_;  // by mode
  std::string document_;                                           // the last one
  std::map<std::string, std::unique_ptr<StoredDocument>> stored_;  // of document_, by encoding fingerprint
  std::map<std::vector<TokenId>, std::string> answers_;  // to prompts about document_: greedy, so always alike
};

}  // namespace ilre::cli
