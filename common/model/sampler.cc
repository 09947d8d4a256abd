#include "common/model/sampler.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/errors.h"
#include "common/kernels/elementwise.h"

namespace ilre {

absl::Status SamplingOptions::Validate() const {
  if (!(temperature >= 0 && temperature <= 100)) {
    return errors::InvalidArgument(absl::StrCat("temperature is ", temperature, ", outside 0 to 100"));
  }
  if (!(top_p > 0 && top_p <= 1)) return errors::InvalidArgument(absl::StrCat("top_p is ", top_p, ", outside (0, 1]"));
  if (top_k < 0) return errors::InvalidArgument(absl::StrCat("top_k is ", top_k, ", below 0"));
  if (!(repetition_penalty > 0 && repetition_penalty <= 100)) {
    return errors::InvalidArgument(absl::StrCat("repetition_penalty is ", repetition_penalty, ", outside (0, 100]"));
  }
  return absl::OkStatus();
}

Sampler::Sampler(const SamplingOptions& options, absl::Span<const TokenId> prompt)
    : options_(options), random_(options.seed) {
  if (options_.repetition_penalty != 1) seen_.insert(prompt.begin(), prompt.end());
}

// Keskar et al., "CTRL: A Conditional Transformer Language Model for Controllable Generation", 2019, section 4.1.
void Sampler::Penalize(absl::Span<float> logits) const {
  for (const TokenId id : seen_) {
    if (id < 0 || static_cast<size_t>(id) >= logits.size()) continue;
    float& logit = logits[id];
    logit = logit > 0 ? logit / options_.repetition_penalty : logit * options_.repetition_penalty;
  }
}

TokenId Sampler::Next(absl::Span<float> logits) {
  if (options_.repetition_penalty != 1) Penalize(logits);
  TokenId chosen = static_cast<TokenId>(kernels::ArgMax(logits.data(), static_cast<int64_t>(logits.size())));
  if (options_.temperature > 0) {
    std::vector<std::pair<float, TokenId>> candidates;  // logit, id
    for (size_t id = 0; id < logits.size(); ++id) {
      if (!std::isnan(logits[id])) candidates.emplace_back(logits[id], static_cast<TokenId>(id));
    }
    const auto better = [](const auto& a, const auto& b) {
      return a.first > b.first || (a.first == b.first && a.second < b.second);
    };
    size_t keep = options_.top_k > 0 ? std::min<size_t>(candidates.size(), options_.top_k) : candidates.size();
    std::partial_sort(candidates.begin(), candidates.begin() + static_cast<ptrdiff_t>(keep), candidates.end(), better);
    candidates.resize(keep);
    double total = 0;
    std::vector<double> probabilities;
    for (const auto& [logit, id] : candidates) {
      probabilities.push_back(std::exp((static_cast<double>(logit) - candidates[0].first) / options_.temperature));
      total += probabilities.back();
    }
    double nucleus = 0;  // Holtzman et al., "The Curious Case of Neural Text Degeneration", 2020: top-p
    size_t in_nucleus = 0;
    while (in_nucleus < keep && nucleus < options_.top_p * total) nucleus += probabilities[in_nucleus++];
    double point = random_.Uniform() * nucleus;
    for (size_t i = 0; i < in_nucleus; ++i) {
      chosen = candidates[i].second;
      point -= probabilities[i];
      if (point < 0) break;
    }
  }
  if (options_.repetition_penalty != 1) seen_.insert(chosen);
  return chosen;
}

}  // namespace ilre
