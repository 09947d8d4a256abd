// What a bound on a block's best score would save: how many blocks of a stored document could be passed over by the
// scan of a question, because a bound shows that no segment of theirs gets into the shortlist.
//
//   bound_bench MODEL PROFILE.json DATA_DIR COLLECTION DOCUMENT QUESTIONS BUDGET     QUESTIONS: a file, one a line
//
// Prints a line of JSON a bound: {"bound", "tokens" that share one, "skipped": share of the blocks, "mean" of the
// bounds on a block's similarity (at most 1 can be reached), "bytes_per_token"}. Everything is decided in favour of
// skipping: the least score of the final shortlist is known from the start, lexical scores are known exactly, a segment
// is bounded by its first block alone, and nobody asks for the median of all scores (which the prompt's floor and the
// second look need: with them, no block at all can be passed over).
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_split.h"
#include "common/base/file.h"
#include "common/base/status_macros.h"
#include "common/kernels/bf16.h"
#include "common/model/checkpoint.h"
#include "common/model/decoder.h"
#include "common/retrieval/profile.h"
#include "common/retrieval/retrieval_model.h"
#include "common/store/key_store.h"
#include "retriever_service/retriever.h"
#include "retriever_service/selection.h"

namespace ilre {
namespace {

constexpr int kDim = 64;

float Dot(const float* x, const float* y) { return std::inner_product(x, x + kDim, y, 0.0f); }

// Vectors of consecutive tokens, all of length one, as far as a bound knows them.
struct Group {
  float low[kDim], high[kDim], axis[kDim];
  float angle = 0;  // of the cone around the axis

  Group(const float* vectors, int n) {
    std::fill_n(low, kDim, std::numeric_limits<float>::infinity());
    std::fill_n(high, kDim, -std::numeric_limits<float>::infinity());
    std::fill_n(axis, kDim, 0.0f);
    for (int t = 0; t < n; ++t) {
      for (int d = 0; d < kDim; ++d) {
        const float x = vectors[t * kDim + d];
        low[d] = std::min(low[d], x);
        high[d] = std::max(high[d], x);
        axis[d] += x;
      }
    }
    const float length = std::sqrt(Dot(axis, axis));
    for (float& x : axis) x /= std::max(length, 1e-6f);
    for (int t = 0; t < n; ++t) angle = std::max(angle, AngleTo(&vectors[t * kDim]));
  }
  float AngleTo(const float* vector) const { return std::acos(std::clamp(Dot(axis, vector), -1.0f, 1.0f)); }
  // query: of length one. No product can be above 1.
  float Box(const float* query) const {
    float sum = 0;
    for (int d = 0; d < kDim; ++d) sum += std::max(query[d] * low[d], query[d] * high[d]);
    return std::min(sum, 1.0f);
  }
  float Cone(const float* query) const { return std::cos(std::max(0.0f, AngleTo(query) - angle)); }
};

using Vectors = std::vector<std::vector<float>>;  // [blocks][n * kDim]

absl::StatusOr<Vectors> ReadVectors(const KeyStoreReader& store, const DocumentRow& row) {
  Vectors blocks;
  ILRE_RETURN_IF_ERROR(store.VisitBlocks(row, 0, row.num_blocks, [&](const BlockView& block) -> absl::Status {
    if (block.heads()[0].dim != kDim || block.heads()[0].type != VectorType::kBf16) {
      return absl::InvalidArgumentError("only for profiles whose first head has 64 dimensions in bf16");
    }
    std::vector<float> vectors(static_cast<size_t>(block.num_tokens()) * kDim);
    for (size_t i = 0; i < vectors.size(); ++i) {
      uint16_t bits;
      std::memcpy(&bits, block.vectors(0).data() + 2 * i, sizeof(bits));
      vectors[i] = kernels::FloatFromBf16(bits);
    }
    blocks.push_back(std::move(vectors));
    return absl::OkStatus();
  }));
  return blocks;
}

// A bound on the similarity of each block: for each question vector the greatest bound of its groups, weighted.
template <typename Bound>  // float(const Group&, const float* query)
std::vector<float> BlockBounds(const std::vector<std::vector<Group>>& blocks, const QueryHead& question, Bound bound) {
  const float total = std::accumulate(question.weights.begin(), question.weights.end(), 0.0f);
  std::vector<float> sums;
  for (const auto& groups : blocks) {
    float sum = 0;
    for (int q = 0; q < question.num_vectors(); ++q) {
      float best = -std::numeric_limits<float>::infinity();
      for (const Group& group : groups) best = std::max(best, bound(group, &question.vectors[q * kDim]));
      sum += question.weights[q] / total * best;
    }
    sums.push_back(sum);
  }
  return sums;
}

// What one question needs to know of the scores as they are.
struct Scored {
  std::vector<float> lexical;  // [blocks] greatest weighted lexical score of a segment that begins there
  float floor = 0;             // least score of the shortlist
};

float BestAround(const std::vector<float>& values, size_t i) {
  return *std::max_element(values.begin() + static_cast<ptrdiff_t>(i == 0 ? 0 : i - 1),
                           values.begin() + static_cast<ptrdiff_t>(std::min(values.size(), i + 2)));
}

int CountSkipped(const std::vector<float>& bounds, const Scored& scored, float neighbour_weight) {
  std::vector<float> own(bounds.size());
  for (size_t i = 0; i < bounds.size(); ++i) own[i] = bounds[i] + scored.lexical[i];
  int skipped = 0;
  for (size_t i = 0; i < own.size(); ++i) {
    if (own[i] + neighbour_weight * BestAround(own, i) < scored.floor) ++skipped;
  }
  return skipped;
}

class Bench {
 public:
  static absl::Status Run(const std::vector<std::string>& arguments) {
    if (arguments.size() != 7) {
      return absl::InvalidArgumentError("MODEL PROFILE DATA_DIR COLLECTION DOCUMENT QUESTIONS BUDGET are wanted");
    }
    ILRE_ASSIGN_OR_RETURN(const auto checkpoint, Checkpoint::Open(arguments[0]));
    ILRE_ASSIGN_OR_RETURN(const RetrievalProfile profile, LoadProfile(arguments[1]));
    ILRE_ASSIGN_OR_RETURN(const auto tokenizer, Tokenizer::Create(checkpoint->tokenizer()));
    ILRE_ASSIGN_OR_RETURN(const auto decoder, Decoder::Load(*checkpoint, {}));
    RetrievalProfile bare = profile, lexical = profile;
    bare.neighbour_weight = lexical.neighbour_weight = bare.lexical.weight = 0;
    Bench bench;
    for (const RetrievalProfile& one : {profile, bare, lexical}) {
      ILRE_ASSIGN_OR_RETURN(auto model, RetrievalModel::Create(*decoder, *tokenizer, checkpoint->fingerprint(), one));
      bench.models_.push_back(std::move(model));
    }
    ILRE_ASSIGN_OR_RETURN(bench.store_, OpenKeyStoreFollower(arguments[2], {}));
    ILRE_ASSIGN_OR_RETURN(bench.row_, bench.store_->GetDocument(arguments[3], arguments[4]));
    ILRE_ASSIGN_OR_RETURN(const std::string text, ReadFile(arguments[5], 1 << 20));
    for (const absl::string_view question : absl::StrSplit(text, '\n', absl::SkipEmpty())) {
      ILRE_RETURN_IF_ERROR(bench.Ask(question, std::atoi(arguments[6].c_str())));
    }
    return bench.Report();
  }

 private:
  absl::Status Ask(absl::string_view question, int budget) {
    std::vector<std::vector<ScoredSegment>> segments;  // as the profile says; similarity alone; with lexical score
    for (const auto& model : models_) {
      ILRE_ASSIGN_OR_RETURN(auto scored, Retriever(*model, *store_).ScoreAll({&row_, 1}, question));
      segments.push_back(std::move(scored));
    }
    Scored scored;
    scored.lexical.assign(row_.num_blocks, 0);
    for (size_t i = 0; i < segments[1].size(); ++i) {
      float& best = scored.lexical[segments[1][i].begin / kBlockTokens];
      best = std::max(best, segments[2][i].score - segments[1][i].score);
    }
    scored.floor = std::numeric_limits<float>::infinity();
    for (const ScoredSegment& segment : SelectSegments(segments[0], {.budget = budget})) {
      scored.floor = std::min(scored.floor, segment.score);
    }
    scored_.push_back(std::move(scored));
    ILRE_ASSIGN_OR_RETURN(const EncodedQuestion encoded, models_[0]->EncodeQuestion(question));
    heads_.push_back(encoded.heads[0]);
    return absl::OkStatus();
  }

  template <typename Bound>
  void ReportOne(const char* name, int size, const std::vector<std::vector<Group>>& blocks, double bytes, Bound bound) {
    double skipped = 0, sum = 0;
    for (size_t q = 0; q < heads_.size(); ++q) {
      const std::vector<float> bounds = BlockBounds(blocks, heads_[q], bound);
      sum += std::accumulate(bounds.begin(), bounds.end(), 0.0);
      skipped += CountSkipped(bounds, scored_[q], models_[0]->profile().neighbour_weight);
    }
    const auto asked = static_cast<double>(heads_.size() * blocks.size());
    std::printf("{\"bound\": \"%s\", \"tokens\": %d, \"skipped\": %.4f, \"mean\": %.3f, \"bytes_per_token\": %.2f}\n",
                name, size, skipped / asked, sum / asked, bytes);
  }

  absl::Status Report() {
    ILRE_ASSIGN_OR_RETURN(const Vectors vectors, ReadVectors(*store_, row_));
    const auto box = [](const Group& group, const float* query) { return group.Box(query); };
    const auto cone = [](const Group& group, const float* query) { return group.Cone(query); };
    const auto both = [](const Group& group, const float* query) {
      return std::min(group.Box(query), group.Cone(query));
    };
    double floors = 0;
    for (const Scored& scored : scored_) floors += scored.floor;
    std::printf("{\"blocks\": %u, \"questions\": %zu, \"mean_floor\": %.3f}\n", row_.num_blocks, heads_.size(),
                floors / static_cast<double>(scored_.size()));
    for (const int size : {256, 64, 16, 4, 1}) {
      std::vector<std::vector<Group>> blocks;
      for (const auto& block : vectors) {
        std::vector<Group>& groups = blocks.emplace_back();
        const int n = static_cast<int>(block.size()) / kDim;
        for (int t = 0; t < n; t += size) groups.emplace_back(&block[t * kDim], std::min(size, n - t));
      }
      if (size == 1) {
        ReportOne("every vector", 1, blocks, 2.0 * kDim, box);  // no bound can be better
        continue;
      }
      ReportOne("box", size, blocks, 2.0 * kDim / size, box);  // a byte a number
      ReportOne("cone", size, blocks, (kDim + 4.0) / size, cone);
      ReportOne("both", size, blocks, (3.0 * kDim + 4.0) / size, both);
    }
    return absl::OkStatus();
  }

  std::vector<std::unique_ptr<RetrievalModel>> models_;
  std::unique_ptr<KeyStoreReader> store_;
  DocumentRow row_;
  std::vector<Scored> scored_;    // [questions]
  std::vector<QueryHead> heads_;  // [questions]
};

}  // namespace
}  // namespace ilre

int main(int argc, char** argv) {
  const absl::Status status = ilre::Bench::Run(std::vector<std::string>(argv + 1, argv + argc));
  if (status.ok()) return 0;
  std::fprintf(stderr, "bound_bench: %s\n", status.ToString().c_str());
  return 1;
}
