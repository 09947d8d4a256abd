#include "retriever_service/reranker.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/kernels/elementwise.h"

namespace ilre {

absl::StatusOr<std::vector<ScoredSegment>> Rerank(const RetrievalModel& model, std::vector<ScoredSegment> segments,
                                                  absl::Span<const TokenId> ids, absl::string_view question,
                                                  const std::function<bool()>& should_stop) {
  const RetrievalProfile& profile = model.profile();
  const ModelConfig& config = model.decoder().config();
  std::vector<TokenId> prompt = model.tokenizer().EncodeIds(profile.prefix, SpecialTokens::kParse);
  const size_t context_begin = prompt.size();
  prompt.insert(prompt.end(), ids.begin(), ids.end());
  const size_t question_begin = prompt.size();
  const std::vector<TokenId> tail =
      model.tokenizer().EncodeIds(absl::StrCat(profile.question_prefix, std::string(question)),
                                  SpecialTokens::kPlainText, TextPosition::kContinued);
  prompt.insert(prompt.end(), tail.begin(), tail.end());

  ILRE_ASSIGN_OR_RETURN(const auto cache, model.decoder().NewCache(static_cast<int64_t>(prompt.size())));
  const Tap taps[] = {{Tap::Kind::kKey, profile.rerank.layer}, {Tap::Kind::kQuery, profile.rerank.layer}};
  std::vector<std::vector<float>> outputs;
  ILRE_RETURN_IF_ERROR(model.decoder().Forward(prompt, cache.get(), taps, Decoder::Logits::kNone, &outputs, nullptr,
                                               [&] { return !(should_stop && should_stop()); }));

  const int64_t d = config.head_dim, key_width = config.num_kv_heads * d, query_width = config.num_heads * d;
  const int64_t query_head = profile.rerank.query_head,
                key_head = query_head / (config.num_heads / config.num_kv_heads);
  std::vector<float> attention(ids.size()), best(ids.size(), 0.0f);
  for (size_t q = question_begin; q < prompt.size() && !ids.empty(); ++q) {
    const float* query = outputs[1].data() + static_cast<int64_t>(q) * query_width + query_head * d;
    for (size_t t = 0; t < ids.size(); ++t) {
      const float* key = outputs[0].data() + static_cast<int64_t>(context_begin + t) * key_width + key_head * d;
      float dot = 0;
      for (int64_t i = 0; i < d; ++i) dot += query[i] * key[i];
      attention[t] = dot;
    }
    kernels::Softmax(attention.data(), static_cast<int64_t>(attention.size()), 1 / config.ScoreDivisor());
    for (size_t t = 0; t < ids.size(); ++t) best[t] = std::max(best[t], attention[t]);
  }
  size_t token = 0;
  for (ScoredSegment& segment : segments) {
    segment.score = 0;
    for (uint32_t i = segment.begin; i < segment.end; ++i) segment.score += best[token++];
  }
  return segments;
}

}  // namespace ilre
