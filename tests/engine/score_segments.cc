// Reads a text with a model and a profile, and scores all its segments for each question: what compare_retrieval.py
// checks against its own arithmetic.
//
//   score_segments MODEL PROFILE.json TEXT QUESTIONS BUDGET     QUESTIONS: one a line
//
// Prints a line of JSON for each question: {"segments": [[token_begin, token_end, score], ...],
// "chosen": [[token_begin, token_end], ...]}.
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_split.h"
#include "common/base/file.h"
#include "common/base/status_macros.h"
#include "common/model/checkpoint.h"
#include "common/model/decoder.h"
#include "common/retrieval/profile.h"
#include "common/retrieval/retrieval_model.h"
#include "common/store/test_documents.h"
#include "nlohmann/json.hpp"
#include "retriever_service/retriever.h"
#include "tests/engine/tiny_engine.h"

namespace ilre {
namespace {

constexpr uint64_t kMaxFileBytes = 64 << 20;

absl::Status Run(const std::vector<std::string>& arguments) {
  if (arguments.size() != 5) return absl::InvalidArgumentError("MODEL PROFILE TEXT QUESTIONS BUDGET are wanted");
  ILRE_ASSIGN_OR_RETURN(const auto checkpoint, Checkpoint::Open(arguments[0]));
  ILRE_ASSIGN_OR_RETURN(RetrievalProfile profile, LoadProfile(arguments[1]));
  ILRE_ASSIGN_OR_RETURN(const std::string text, ReadFile(arguments[2], kMaxFileBytes));
  ILRE_ASSIGN_OR_RETURN(const std::string questions, ReadFile(arguments[3], kMaxFileBytes));
  ILRE_ASSIGN_OR_RETURN(const auto tokenizer, Tokenizer::Create(checkpoint->tokenizer()));
  ILRE_ASSIGN_OR_RETURN(const auto decoder, Decoder::Load(*checkpoint, {}));
  ILRE_ASSIGN_OR_RETURN(const auto model,
                        RetrievalModel::Create(*decoder, *tokenizer, checkpoint->fingerprint(), std::move(profile)));
  const TempFolder folder;
  ILRE_ASSIGN_OR_RETURN(const auto store, OpenKeyStore(folder.path(), {}));
  ILRE_ASSIGN_OR_RETURN(const DocumentRow row, IngestWhole(*store, *model, "c", "d", text));
  const Retriever retriever(*model, *store);
  RetrieveOptions options;
  options.one_look = true;  // the oracle knows the first look; the second has one of its own
  options.budget = std::atoi(arguments[4].c_str());
  for (const absl::string_view question : absl::StrSplit(questions, '\n', absl::SkipEmpty())) {
    nlohmann::json line = {{"segments", nlohmann::json::array()}, {"chosen", nlohmann::json::array()}};
    ILRE_ASSIGN_OR_RETURN(const auto segments, retriever.ScoreAll({&row, 1}, question));
    for (const ScoredSegment& segment : segments) {
      line["segments"].push_back({segment.begin, segment.end, segment.score});
    }
    ILRE_ASSIGN_OR_RETURN(const Retrieval retrieval, retriever.Retrieve({&row, 1}, question, options));
    for (const RecalledSpan& span : retrieval.spans) line["chosen"].push_back({span.token_begin, span.token_end});
    std::printf("%s\n", line.dump().c_str());
  }
  return absl::OkStatus();
}

}  // namespace
}  // namespace ilre

int main(int argc, char** argv) {
  const absl::Status status = ilre::Run(std::vector<std::string>(argv + 1, argv + argc));
  if (status.ok()) return 0;
  std::fprintf(stderr, "score_segments: %s\n", status.ToString().c_str());
  return 1;
}
