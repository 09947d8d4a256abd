#include "common/retrieval/profile.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/errors.h"
#include "xxhash.h"

namespace ilre {
namespace {

absl::Status Bad(absl::string_view what) {
  return MakeError(absl::StatusCode::kInvalidArgument, "BAD_PROFILE", absl::StrCat("retrieval profile: ", what));
}

bool AllFinite(const std::vector<float>& values) {
  return std::all_of(values.begin(), values.end(), [](float v) { return std::isfinite(v); });
}

constexpr size_t kMaxPooledLayers = 8;

absl::Status ValidateHead(const RetrievalHead& head, const ModelConfig& model) {
  if (head.layer < 0 || head.layer > model.num_layers) return Bad(absl::StrCat("no layer ", head.layer));
  if (head.kind == RetrievalHead::Kind::kPooled) {
    if (head.layers.empty() || head.layers.size() > kMaxPooledLayers) {
      return Bad(absl::StrCat("a pooled head of ", head.layers.size(), " layers"));
    }
    for (size_t i = 0; i < head.layers.size(); ++i) {
      if (head.layers[i] < 0 || head.layers[i] > model.num_layers)
        return Bad(absl::StrCat("no layer ", head.layers[i]));
      if (i > 0 && head.layers[i] <= head.layers[i - 1]) return Bad("a pooled head's layers do not ascend");
    }
  }
  if (head.dim < 1 || head.dim > kMaxHeadDim) return Bad(absl::StrCat("head of ", head.dim, " dimensions"));
  if (!std::isfinite(head.weight)) return Bad("a head's weight is not finite");
  if (head.kind != RetrievalHead::Kind::kKey) {
    const bool pooled = head.kind == RetrievalHead::Kind::kPooled;
    const size_t width = static_cast<size_t>(model.hidden_size) * (pooled ? head.layers.size() : 1);
    const size_t size = static_cast<size_t>(head.dim) * width;
    if (head.key_projection.size() != size || head.query_projection.size() != size || head.gate.size() != width ||
        head.key_gate.size() != (pooled ? width : 0)) {
      return Bad(absl::StrCat("the weights of the probe at layer ", head.deepest_layer(),
                              " do not fit a model of hidden size ", model.hidden_size));
    }
    if (!AllFinite(head.key_projection) || !AllFinite(head.query_projection) || !AllFinite(head.gate) ||
        !AllFinite(head.key_gate) || !std::isfinite(head.gate_bias) || !std::isfinite(head.key_gate_bias)) {
      return Bad(absl::StrCat("the weights of the probe at layer ", head.deepest_layer(), " are not finite"));
    }
    return absl::OkStatus();
  }
  if (head.layer == model.num_layers) return Bad(absl::StrCat("no layer ", head.layer));
  if (head.dim != model.head_dim) return Bad("a key head's dimension is not the model's head size");
  if (head.key_head < 0 || head.key_head >= model.num_kv_heads) return Bad(absl::StrCat("no key head ", head.key_head));
  const int64_t group = model.num_heads / model.num_kv_heads;
  if (head.query_heads.empty()) return Bad("a key head without query heads");
  for (const int query_head : head.query_heads) {
    if (query_head < 0 || query_head >= model.num_heads || query_head / group != head.key_head) {
      return Bad(absl::StrCat("query head ", query_head, " does not share key head ", head.key_head));
    }
  }
  return absl::OkStatus();
}

// Finds or adds a tap.
int TapIndex(std::vector<Tap>* taps, const Tap& tap) {
  for (size_t i = 0; i < taps->size(); ++i) {
    if ((*taps)[i].kind == tap.kind && (*taps)[i].layer == tap.layer) return static_cast<int>(i);
  }
  taps->push_back(tap);
  return static_cast<int>(taps->size()) - 1;
}

std::vector<Tap> TapsOf(const std::vector<RetrievalHead>& heads, Tap::Kind of_keys,
                        std::vector<std::vector<int>>* taps_of_head) {
  std::vector<Tap> taps;
  if (taps_of_head != nullptr) taps_of_head->clear();
  for (const RetrievalHead& head : heads) {
    const bool pooled = head.kind == RetrievalHead::Kind::kPooled;
    std::vector<int> of_head;
    for (const int layer : pooled ? head.layers : std::vector<int>{head.layer}) {
      of_head.push_back(TapIndex(&taps, {head.kind == RetrievalHead::Kind::kKey ? of_keys : Tap::Kind::kInput, layer}));
    }
    if (taps_of_head != nullptr) taps_of_head->push_back(std::move(of_head));
  }
  return taps;
}

}  // namespace

absl::Status RetrievalProfile::Validate(const ModelConfig& config) const {
  if (heads.empty() || heads.size() > kMaxHeads) return Bad(absl::StrCat(heads.size(), " heads"));
  if (prefix.empty()) return Bad("the prefix is empty: a stream needs sinks");
  if (window < 1 || window > 65536) return Bad(absl::StrCat("a window of ", window, " tokens"));
  if (max_indented < 0 || max_indented > max_segment) {
    return Bad(absl::StrCat("indented lines in segments of ", max_indented, " tokens, of ", max_segment));
  }
  if (max_segment < 1 || max_segment > 4096) return Bad(absl::StrCat("segments of ", max_segment, " tokens"));
  if (budget < 1 || budget > 1 << 20) return Bad(absl::StrCat("a budget of ", budget, " tokens"));
  if (!(prompt_floor >= 0 && prompt_floor <= 1)) return Bad("prompt_floor is not in [0, 1]");
  if (!(neighbour_weight >= 0 && neighbour_weight <= 10)) return Bad("neighbour_weight is not in [0, 10]");
  if (min_prompt < 0) return Bad("min_prompt is negative");
  if (!(prompt_word_floor >= 0 && prompt_word_floor <= prompt_floor)) {
    return Bad("prompt_word_floor is not in [0, prompt_floor]");
  }
  for (const RetrievalHead& head : heads) {
    if (absl::Status status = ValidateHead(head, config); !status.ok()) return status;
  }
  if (scoring == Scoring::kAttention && std::any_of(heads.begin(), heads.end(), [](const RetrievalHead& head) {
        return head.kind == RetrievalHead::Kind::kPooled;
      })) {
    return Bad("a pooled head has no attention over tokens");
  }
  if (scoring == Scoring::kAttention && attention.positions == Attention::Positions::kAbsolute &&
      std::any_of(heads.begin(), heads.end(),
                  [](const RetrievalHead& head) { return head.kind != RetrievalHead::Kind::kKey; })) {
    return Bad("only key heads can be rotated by absolute positions");
  }
  for (const Attention::Kernel& kernel : attention.kernels) {
    if (kernel.size < 1 || kernel.size % 2 == 0 || kernel.size > 65535) {
      return Bad(absl::StrCat("a pooling kernel of ", kernel.size, " tokens"));
    }
    if (kernel.budget < 1 || kernel.budget > 1 << 20) return Bad(absl::StrCat("a kernel's budget of ", kernel.budget));
  }
  if (!(lexical.weight >= 0 && std::isfinite(lexical.weight) && lexical.k1 >= 0 && lexical.b >= 0 && lexical.b <= 1 &&
        lexical.power > 0 && lexical.power <= 8)) {
    return Bad("lexical weight, k1, b or power out of range");
  }
  if (lexical.weight > 0 && !lexical_postings) return Bad("a lexical weight without lexical_postings");
  if (second_look.max_looks < 0 || second_look.max_looks > 16) {
    return Bad(absl::StrCat("a second look of ", second_look.max_looks, " looks"));
  }
  for (const float share : {second_look.weight, second_look.floor, second_look.min_link}) {
    if (!(share >= 0 && share <= 1)) return Bad("the second look's weight, floor or min_link is not in [0, 1]");
  }
  if (second_look.max_sources < 1 || second_look.max_sources > 64) {
    return Bad(absl::StrCat("a second look at ", second_look.max_sources, " sources"));
  }
  if (rerank.shortlist < 0 || rerank.shortlist > 1 << 16) return Bad("a shortlist of unreasonable length");
  if (rerank.shortlist > 0 && (rerank.layer < 0 || rerank.layer >= config.num_layers || rerank.query_head < 0 ||
                               rerank.query_head >= config.num_heads)) {
    return Bad("the reranking head is not one of the model's");
  }
  return absl::OkStatus();
}

std::vector<HeadFormat> RetrievalProfile::HeadFormats() const {
  std::vector<HeadFormat> formats;
  for (const RetrievalHead& head : heads) {
    formats.push_back({static_cast<uint16_t>(head.dim), head.type, head.kind == RetrievalHead::Kind::kPooled});
  }
  return formats;
}

std::vector<Tap> RetrievalProfile::KeyTaps(std::vector<std::vector<int>>* taps_of_head) const {
  return TapsOf(heads, Tap::Kind::kKey, taps_of_head);
}

std::vector<Tap> RetrievalProfile::QueryTaps(std::vector<std::vector<int>>* taps_of_head) const {
  return TapsOf(heads, Tap::Kind::kQuery, taps_of_head);
}

std::string RetrievalProfile::EncodingFingerprint() const {
  std::string canonical = absl::StrCat("ilre-encoding-1|", model, "|", prefix.size(), ":", prefix, "|", window, "|",
                                       max_segment, "|", lexical_postings ? 1 : 0);
  if (arithmetic != StreamArithmetic::kBf16) absl::StrAppend(&canonical, "|arithmetic ", static_cast<int>(arithmetic));
  if (max_indented > 0) absl::StrAppend(&canonical, "|indented ", max_indented);
  uint64_t hash = XXH3_64bits(canonical.data(), canonical.size());
  for (const RetrievalHead& head : heads) {
    canonical = absl::StrCat(static_cast<int>(head.kind), "|", head.layer, "|", head.dim, "|",
                             static_cast<int>(head.type), "|", head.key_head);
    hash = XXH3_64bits_withSeed(canonical.data(), canonical.size(), hash);
    hash = XXH3_64bits_withSeed(head.key_projection.data(), head.key_projection.size() * sizeof(float), hash);
    if (head.kind != RetrievalHead::Kind::kPooled) continue;
    hash = XXH3_64bits_withSeed(head.layers.data(), head.layers.size() * sizeof(int), hash);
    hash = XXH3_64bits_withSeed(head.key_gate.data(), head.key_gate.size() * sizeof(float), hash);
    hash = XXH3_64bits_withSeed(&head.key_gate_bias, sizeof(float), hash);
  }
  return absl::StrFormat("%016x", hash);
}

}  // namespace ilre
