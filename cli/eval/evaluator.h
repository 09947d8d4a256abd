// Answers samples in one of several modes, all with the same budget of tokens and the same prompt.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/optional.h"
#include "cli/eval/eval_context.h"
#include "cli/eval/other_retriever.h"
#include "cli/eval/result_log.h"
#include "cli/eval/sample.h"
#include "cli/eval/token_selection.h"
#include "cli/loaded_model.h"
#include "common/retrieval/retrieval_model.h"
#include "common/store/key_store.h"
#include "generator_service/generator.h"

namespace ilre::cli {

// Modes: "default" the profile as it is; "one-look" without its second look; "no-lexical" its vectors alone; "bm25"
// words alone, over the same segments and with the same cut of the prompt; "full" the whole document, where it fits the
// model's context; "window" the first tokens and the last; "gemfilter" and "snapkv" the tokens that these choose at one
// layer (cli/eval/token_selection.h), where the whole document fits the model's context: behind it, their positions
// mean nothing to the model. Further modes, by names of the caller's, are other profiles and other retrievers.
const std::vector<std::string>& EvalModes();
// Of the last two: those that depend on the attention layer.
bool SelectsTokens(const std::string& mode);

struct EvaluatorOptions {
  std::map<std::string, std::string> compared;  // modes that are other profiles, and their files
  std::map<std::string, ChosenRanges> chosen;   // modes whose text other retrievers chose
  bool answers = true;                          // false: only what is recalled is measured
  int attention_layer = -1;                     // of modes "gemfilter" and "snapkv"; -1: two fifths of the way up
};

// Not thread-safe. Keeps the last document it was asked about ingested, in a folder of its own that is gone with it.
class Evaluator {
 public:
  // `modes` are those that will be asked for, of EvalModes() and options. Errors: those of loading, naming the
  // file.
  static absl::StatusOr<std::unique_ptr<Evaluator>> Open(const Settings& settings,
                                                         const std::vector<std::string>& modes,
                                                         const EvaluatorOptions& options);
  ~Evaluator();

  // Nothing where the mode cannot answer this: the document does not fit the model's context, and it would have to.
  absl::StatusOr<absl::optional<EvalResult>> Evaluate(const Sample& sample, const std::string& mode, int budget);

  const Tokenizer& tokenizer() const { return *model_.tokenizer; }
  const RetrievalProfile& profile() const { return model_.retrieval->profile(); }
  const std::string& model_fingerprint() const { return model_.checkpoint->fingerprint(); }
  // Of the model, of what is stored of a document, and of what is measured.
  std::string Fingerprint() const;
  // Of modes "gemfilter" and "snapkv".
  int AttentionLayer() const;

 private:
  struct StoredDocuments;  // ingested ones

  Evaluator();
  absl::StatusOr<absl::optional<EvalContext>> Choose(const Sample& sample, const std::string& mode, int budget);
  absl::StatusOr<EvalContext> Recall(const Sample& sample, const RetrievalModel& model, int budget);
  absl::StatusOr<absl::optional<EvalContext>> SelectTokens(const Sample& sample, const Tokens& tokens,
                                                           const std::string& mode, int budget);
  absl::StatusOr<StoredDocuments*> Stored(const Sample& sample, const RetrievalModel& model);
  std::vector<TokenId> PromptOf(const Sample& sample, const EvalContext& context) const;
  bool FitsModel(const Sample& sample, const std::vector<TokenId>& prompt) const;
  absl::StatusOr<std::string> Answer(const Sample& sample, const std::vector<TokenId>& prompt);

  EvaluatorOptions options_;
  LoadedModel model_;
  ChatTemplate chat_;
  std::unique_ptr<Generator> generator_;
  std::map<std::string, std::unique_ptr<RetrievalModel>> models_;   // by mode
  std::string document_;                                            // the last one
  std::vector<uint64_t> document_ends_;                             // its parts
  std::map<std::string, std::unique_ptr<StoredDocuments>> stored_;  // of document_, by encoding fingerprint
  std::map<std::vector<TokenId>, std::string> answers_;  // to prompts about document_: greedy, so always alike
  std::vector<TokenId> attended_prompt_;                 // the last one that ran through AttentionLayer
  LayerAttention attention_;                             // of it
};

}  // namespace ilre::cli
