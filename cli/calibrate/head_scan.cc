#include "cli/calibrate/head_scan.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <utility>

#include "cli/calibrate/head_attention.h"
#include "cli/calibrate/segmented_text.h"
#include "common/base/errors.h"
#include "common/base/status_macros.h"
#include "common/base/thread_pool.h"
#include "common/store/records.h"
#include "retriever_service/attention_scorer.h"
#include "retriever_service/selection.h"

namespace ilre::cli {
namespace {

std::vector<Tap> TapsOf(Tap::Kind kind, int num_layers) {
  std::vector<Tap> taps;
  for (int layer = 0; layer < num_layers; ++layer) taps.push_back({kind, layer});
  return taps;
}

// The scan of one layer: what its heads make of all questions and all segments.
class LayerScan {
 public:
  // queries: [tokens of all questions, H * d]
  LayerScan(const ModelConfig& config, int layer, const std::vector<float>& queries, const std::vector<int>& owner,
            const SegmentedText& text)
      : config_(config), text_(text), questions_(owner.empty() ? 0 : owner.back() + 1) {
    const auto group = static_cast<size_t>(config.num_heads / config.num_kv_heads);
    const size_t width = group * static_cast<size_t>(config.head_dim);
    for (size_t g = 0; g < static_cast<size_t>(config.num_kv_heads); ++g) {
      std::vector<float> own;
      for (size_t token = 0; token < owner.size(); ++token) {
        const auto begin = queries.begin() +
                           static_cast<std::ptrdiff_t>((token * static_cast<size_t>(config.num_kv_heads) + g) * width);
        own.insert(own.end(), begin, begin + static_cast<std::ptrdiff_t>(width));
      }
      heads_.emplace_back(config, layer, std::move(own), owner, static_cast<int64_t>(text.tokens.ids.size()));
    }
    const size_t rows = static_cast<size_t>(questions_) * static_cast<size_t>(text.num_segments());
    query_heads_.assign(static_cast<size_t>(config.num_heads), std::vector<float>(rows));
    key_heads_.assign(static_cast<size_t>(config.num_kv_heads), std::vector<float>(rows));
    all_heads_.assign(rows, 0);
    published_.assign(static_cast<size_t>(questions_), std::vector<float>(text.tokens.ids.size()));
  }

  // keys: [n, G * d]
  void AddToSums(const std::vector<float>& keys, int n, int64_t first) {
    for (size_t g = 0; g < heads_.size(); ++g) heads_[g].AddToSums(KeysOf(keys, n, g).data(), n, first);
  }

  void AddScores(const std::vector<float>& keys, int n, int64_t first) {
    const size_t width = static_cast<size_t>(n), group = query_heads_.size() / key_heads_.size();
    const int64_t* segment_of = text_.segment_of.data() + first;
    std::vector<float> best(static_cast<size_t>(questions_) * width, -std::numeric_limits<float>::infinity());
    std::vector<float> published(best.size(), 0.0f);
    for (size_t g = 0; g < heads_.size(); ++g) {
      HeadAttention::Scores scores{.key_head = key_heads_[g].data(), .num_segments = text_.num_segments()};
      for (size_t i = 0; i < group; ++i) scores.query_heads.push_back(query_heads_[g * group + i].data());
      heads_[g].AddScores(KeysOf(keys, n, g).data(), n, first, segment_of, scores, best.data(), published.data());
    }
    for (size_t q = 0; q < static_cast<size_t>(questions_); ++q) {
      float* segments = all_heads_.data() + q * static_cast<size_t>(text_.num_segments());
      for (size_t t = 0; t < width; ++t) segments[segment_of[t]] += std::exp(best[q * width + t]);
      std::copy_n(published.data() + q * width, width, published_[q].begin() + first);
    }
  }

  HeadRecall::Layer Recall(const std::vector<std::vector<int64_t>>& gold, int budget,
                           const std::vector<RetrievalProfile::Attention::Kernel>& kernels) const {
    HeadRecall::Layer recall;
    for (const auto& scores : query_heads_) recall.query_heads.push_back(SegmentsRecalled(scores, gold, budget));
    for (const auto& scores : key_heads_) recall.key_heads.push_back(SegmentsRecalled(scores, gold, budget));
    recall.all_heads = SegmentsRecalled(all_heads_, gold, budget);
    for (size_t q = 0; q < gold.size(); ++q) {
      recall.published += TokensRecalled(SelectByPooling({published_[q]}, kernels, budget), gold[q]);
    }
    return recall;
  }

 private:
  std::vector<float> KeysOf(const std::vector<float>& keys, int n, size_t g) const {
    const auto dim = static_cast<size_t>(config_.head_dim);
    std::vector<float> own(static_cast<size_t>(n) * dim);
    for (size_t t = 0; t < static_cast<size_t>(n); ++t) {
      std::copy_n(keys.data() + (t * heads_.size() + g) * dim, dim, own.data() + t * dim);
    }
    return own;
  }

  // The sum over questions of the share of their gold segments that are selected.
  double SegmentsRecalled(const std::vector<float>& scores, const std::vector<std::vector<int64_t>>& gold,
                          int budget) const {
    double sum = 0;
    for (size_t q = 0; q < gold.size(); ++q) {
      sum += GoldRecalled(text_.begins, scores.data() + q * static_cast<size_t>(text_.num_segments()), gold[q], budget);
    }
    return sum;
  }

  // The share of the gold segments' tokens that lie in `spans`.
  double TokensRecalled(const std::vector<ScoredSegment>& spans, const std::vector<int64_t>& gold) const {
    int64_t all = 0, found = 0;
    for (const int64_t s : gold) {
      all += text_.begins[s + 1] - text_.begins[s];
      for (const ScoredSegment& span : spans) {
        found += std::max<int64_t>(
            0, std::min<int64_t>(span.end, text_.begins[s + 1]) - std::max<int64_t>(span.begin, text_.begins[s]));
      }
    }
    return all > 0 ? static_cast<double>(found) / static_cast<double>(all) : 0;
  }

  const ModelConfig& config_;
  const SegmentedText& text_;
  int questions_;
  std::vector<HeadAttention> heads_;             // [G]
  std::vector<std::vector<float>> query_heads_;  // [H] of [questions, segments]
  std::vector<std::vector<float>> key_heads_;    // [G] of [questions, segments]
  std::vector<float> all_heads_;                 // [questions, segments]
  std::vector<std::vector<float>> published_;    // [questions] of [tokens]
};

// Queries of all questions: [layers] of [tokens, H * d], and which question each token is of.
absl::StatusOr<std::vector<std::vector<float>>> ReadQuestions(const Decoder& decoder, const Tokenizer& tokenizer,
                                                              const RetrievalProfile& profile, const TrainingText& text,
                                                              const StreamState& start, std::vector<int>* owner) {
  const std::vector<Tap> taps = TapsOf(Tap::Kind::kQuery, decoder.num_layers());
  std::vector<std::vector<float>> queries;
  for (size_t q = 0; q < text.questions.size(); ++q) {
    StreamState state = start;
    const std::vector<TokenId> ids = QuestionTokens(tokenizer, profile, text.questions[q].question);
    owner->insert(owner->end(), ids.size(), static_cast<int>(q));
    ILRE_RETURN_IF_ERROR(StreamTokens(decoder, ids, taps, &state, &queries));
  }
  return queries;
}

}  // namespace

absl::StatusOr<HeadRecall> ScanHeads(const Decoder& decoder, const Tokenizer& tokenizer,
                                     const RetrievalProfile& profile, const TrainingText& text, int budget,
                                     const std::vector<RetrievalProfile::Attention::Kernel>& kernels,
                                     const ScanProgress& progress) {
  const int num_layers = decoder.num_layers();
  const SegmentedText segmented = SegmentText(tokenizer, text.text, profile);
  ILRE_ASSIGN_OR_RETURN(const StreamStarts starts, StartStreams(decoder, tokenizer, profile, num_layers));
  std::vector<std::unique_ptr<LayerScan>> layers;
  {
    std::vector<int> owner;
    ILRE_ASSIGN_OR_RETURN(const auto queries,
                          ReadQuestions(decoder, tokenizer, profile, text, starts.question, &owner));
    for (int layer = 0; layer < num_layers; ++layer) {
      layers.push_back(std::make_unique<LayerScan>(decoder.config(), layer, queries[layer], owner, segmented));
    }
  }
  const absl::Span<const TokenId> ids = segmented.tokens.ids;
  const std::vector<Tap> taps = TapsOf(Tap::Kind::kKey, num_layers);
  for (int reading = 0; reading < 2; ++reading) {
    StreamState state = starts.document;
    const auto add = [&](size_t begin, absl::Span<const TokenId> block, const std::vector<std::vector<float>>& keys) {
      const auto n = static_cast<int>(block.size());
      const auto first = static_cast<int64_t>(begin);
      DefaultPool().ParallelFor(num_layers, [&](int64_t layer) {
        if (reading == 0) {
          layers[layer]->AddToSums(keys[layer], n, first);
        } else {
          layers[layer]->AddScores(keys[layer], n, first);
        }
      });
      const double read = static_cast<double>(begin + block.size()) / static_cast<double>(ids.size());
      return !progress || progress((reading + read) / 2);
    };
    ILRE_RETURN_IF_ERROR(StreamBlocks(decoder, ids, taps, &state, add));
  }
  HeadRecall recall{.questions = static_cast<int>(text.questions.size()), .tokens = static_cast<int>(ids.size())};
  std::vector<std::vector<int64_t>> gold;
  for (const TextQuestion& question : text.questions) gold.push_back(segmented.GoldSegments(question));
  recall.layers.resize(layers.size());
  DefaultPool().ParallelFor(
      num_layers, [&](int64_t layer) { recall.layers[layer] = layers[layer]->Recall(gold, budget, kernels); });
  return recall;
}

}  // namespace ilre::cli
