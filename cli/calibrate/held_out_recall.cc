#include "cli/calibrate/held_out_recall.h"

#include <stdlib.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <memory>
#include <string>

#include "common/base/errors.h"
#include "common/base/status_macros.h"
#include "common/store/key_store.h"
#include "encoder_service/document_ingest.h"
#include "retriever_service/retriever.h"
#include "retriever_service/selection.h"

namespace ilre::cli {
namespace {

// A folder that is gone with this object.
class TemporaryFolder {
 public:
  static absl::StatusOr<std::unique_ptr<TemporaryFolder>> Make() {
    std::error_code error;
    std::string path = (std::filesystem::temp_directory_path(error) / "ilre-calibrate-XXXXXX").string();
    if (error || ::mkdtemp(path.data()) == nullptr) return ErrnoError(errno, "cannot make a temporary folder");
    return std::unique_ptr<TemporaryFolder>(new TemporaryFolder(path));
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  const std::string& path() const { return path_; }

 private:
  explicit TemporaryFolder(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

// The share of segments with a byte of [begin, end) of the text that are chosen.
double ShareRecalled(const std::vector<ScoredSegment>& all, const std::vector<ScoredSegment>& chosen,
                     const std::vector<uint64_t>& token_ends, size_t begin, size_t end) {
  const auto holds = [&](const ScoredSegment& segment) {
    const uint64_t from = segment.begin == 0 ? 0 : token_ends[segment.begin - 1], to = token_ends[segment.end - 1];
    return from < end && begin < to;
  };
  const auto count = [&](const std::vector<ScoredSegment>& segments) {
    return static_cast<double>(std::count_if(segments.begin(), segments.end(), holds));
  };
  return count(chosen) / std::max(1.0, count(all));
}

}  // namespace

absl::StatusOr<std::vector<RecallAtBudget>> MeasureRecall(const Decoder& decoder, const Tokenizer& tokenizer,
                                                          const RetrievalProfile& profile, const TrainingText& text,
                                                          const std::vector<int>& budgets) {
  ILRE_ASSIGN_OR_RETURN(const auto folder, TemporaryFolder::Make());
  ILRE_ASSIGN_OR_RETURN(const auto store, OpenKeyStore(folder->path() + "/store", {}));
  ILRE_ASSIGN_OR_RETURN(const auto whole, RetrievalModel::Create(decoder, tokenizer, profile.model, profile));
  RetrievalProfile heads_only = profile, bm25_only = profile;
  heads_only.lexical.weight = 0;
  bm25_only.lexical.weight = 1;
  heads_only.neighbour_weight = bm25_only.neighbour_weight = 0;
  for (RetrievalHead& head : bm25_only.heads) head.weight = 0;
  const bool has_parts = profile.scoring == RetrievalProfile::Scoring::kMaxSim;
  std::unique_ptr<RetrievalModel> heads, bm25;
  if (has_parts) {
    ILRE_ASSIGN_OR_RETURN(heads, RetrievalModel::Create(decoder, tokenizer, profile.model, heads_only));
    ILRE_ASSIGN_OR_RETURN(bm25, RetrievalModel::Create(decoder, tokenizer, profile.model, bm25_only));
  }

  ILRE_ASSIGN_OR_RETURN(const auto ingest, DocumentIngest::Begin(*store, *whole, "calibrate", "held-out", false, {}));
  ILRE_RETURN_IF_ERROR(ingest->Write(text.text));
  ILRE_RETURN_IF_ERROR(ingest->Finish());
  const DocumentRow row = ingest->row();
  std::vector<uint64_t> token_ends;
  ILRE_RETURN_IF_ERROR(store->VisitBlocks(row, 0, row.num_blocks, [&](const BlockView& block) {
    for (int i = 0; i < block.num_tokens(); ++i) token_ends.push_back(block.text_begin() + block.token_end(i));
    return absl::OkStatus();
  }));

  std::vector<RecallAtBudget> recall;
  for (const int budget : budgets) recall.push_back({.budget = budget});
  const double n = static_cast<double>(text.questions.size());
  for (const TextQuestion& question : text.questions) {
    const auto add = [&](const RetrievalModel& model, double RecallAtBudget::*member) -> absl::Status {
      const Retriever retriever(model, *store);
      ILRE_ASSIGN_OR_RETURN(const auto segments, retriever.ScoreAll(absl::MakeConstSpan(&row, 1), question.question));
      for (RecallAtBudget& at : recall) {
        at.*member += ShareRecalled(segments, SelectSegments(segments, {.budget = at.budget}), token_ends,
                                    question.answer_begin, question.answer_end) /
                      n;
      }
      return absl::OkStatus();
    };
    ILRE_RETURN_IF_ERROR(add(*whole, &RecallAtBudget::fused));
    if (!has_parts) continue;
    ILRE_RETURN_IF_ERROR(add(*heads, &RecallAtBudget::heads));
    ILRE_RETURN_IF_ERROR(add(*bm25, &RecallAtBudget::bm25));
  }
  return recall;
}

}  // namespace ilre::cli
