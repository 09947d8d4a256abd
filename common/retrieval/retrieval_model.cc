#include "common/retrieval/retrieval_model.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/errors.h"
#include "common/base/status_macros.h"
#include "common/base/thread_pool.h"
#include "common/base/utf8.h"
#include "common/kernels/elementwise.h"
#include "common/retrieval/lexical.h"

namespace ilre {
namespace {

kernels::PackedLinear PackProjection(const std::vector<float>& weight, int64_t dim, int64_t hidden) {
  std::vector<uint16_t> bits(weight.size());
  kernels::ConvertToBf16(weight.data(), static_cast<int64_t>(weight.size()), bits.data());
  return kernels::PackedLinear::FromBf16(bits.data(), dim, hidden, nullptr);
}

// log(1 + e^x) without overflow.
float Softplus(float x) { return x > 20 ? x : std::log1p(std::exp(x)); }

HeadVectors StoreAs(VectorType type, const std::vector<float>& vectors, int64_t dim) {
  HeadVectors stored;
  const int64_t size = static_cast<int64_t>(vectors.size());
  if (type == VectorType::kBf16) {
    stored.bytes.resize(vectors.size() * sizeof(uint16_t));
    std::vector<uint16_t> bits(vectors.size());
    kernels::ConvertToBf16(vectors.data(), size, bits.data());
    std::memcpy(stored.bytes.data(), bits.data(), stored.bytes.size());
    return stored;
  }
  stored.bytes.resize(vectors.size());
  for (int64_t row = 0; row < size; row += dim) {
    float largest = 0;
    for (int64_t i = 0; i < dim; ++i) largest = std::max(largest, std::fabs(vectors[row + i]));
    const float scale = largest > 0 ? largest / 127 : 1;
    stored.scales.push_back(scale);
    for (int64_t i = 0; i < dim; ++i) {
      stored.bytes[row + i] = static_cast<char>(static_cast<int8_t>(std::lrint(vectors[row + i] / scale)));
    }
  }
  return stored;
}

// The columns [begin, begin + count) of each row of x [n, width].
std::vector<float> Columns(const std::vector<float>& x, int64_t n, int64_t begin, int64_t count) {
  const int64_t width = static_cast<int64_t>(x.size()) / n;
  std::vector<float> out(static_cast<size_t>(n * count));
  for (int64_t row = 0; row < n; ++row) {
    std::copy_n(x.data() + row * width + begin, count, out.data() + row * count);
  }
  return out;
}

// Each number to the nearest bf16.
void RoundToBf16(std::vector<float>* values) {
  const auto count = static_cast<int64_t>(values->size());
  std::vector<uint16_t> bits(values->size());
  kernels::ConvertToBf16(values->data(), count, bits.data());
  kernels::ConvertFromBf16(bits.data(), count, values->data());
}

float GateWeight(const std::vector<float>& gate, float bias, const float* x) {
  return Softplus(bias + kernels::InnerProduct(gate.data(), x, static_cast<int64_t>(gate.size())));
}

// Adds each token's inputs, by its weight, to the part that it belongs to. taps: each [n, hidden], those that `of_head`
// names are taken side by side; starts: [n], or null for one part. -> [parts, width of all together]
std::vector<float> PoolParts(const std::vector<std::vector<float>>& taps, const std::vector<int>& of_head, int64_t n,
                             const bool* starts, const std::vector<float>& gate, float gate_bias) {
  const int64_t width = static_cast<int64_t>(gate.size()), hidden = width / static_cast<int64_t>(of_head.size());
  const int parts = starts == nullptr ? 1 : CountParts(starts, static_cast<size_t>(n));
  std::vector<float> sums(static_cast<size_t>(parts * width), 0.0f);
  float* sum = sums.data();
  for (int64_t token = 0; token < n; ++token) {
    if (starts != nullptr && starts[token] && token > 0) sum += width;
    float gated = gate_bias;
    for (size_t i = 0; i < of_head.size(); ++i) {
      const float* row = taps[of_head[i]].data() + token * hidden;
      gated += kernels::InnerProduct(gate.data() + static_cast<int64_t>(i) * hidden, row, hidden);
    }
    const float weight = Softplus(gated);
    for (size_t i = 0; i < of_head.size(); ++i) {
      kernels::AddScaled(sum + static_cast<int64_t>(i) * hidden, weight, taps[of_head[i]].data() + token * hidden,
                         hidden);
    }
  }
  return sums;
}

}  // namespace

absl::StatusOr<std::unique_ptr<RetrievalModel>> RetrievalModel::Create(const Decoder& decoder,
                                                                       const Tokenizer& tokenizer,
                                                                       absl::string_view model_fingerprint,
                                                                       RetrievalProfile profile) {
  std::unique_ptr<RetrievalModel> model(new RetrievalModel(decoder, tokenizer));
  ILRE_RETURN_IF_ERROR(model->Init(model_fingerprint, std::move(profile)));
  return model;
}

absl::Status RetrievalModel::Init(absl::string_view model_fingerprint, RetrievalProfile profile) {
  ILRE_RETURN_IF_ERROR(profile.Validate(decoder_.config()));
  if (profile.model != model_fingerprint) {
    return MakeError(absl::StatusCode::kFailedPrecondition, "PROFILE_OF_ANOTHER_MODEL",
                     absl::StrCat("the profile ", profile.name, " was made for the model ", profile.model,
                                  "; the model loaded is ", model_fingerprint));
  }
  profile_ = std::move(profile);
  model_fingerprint_ = std::string(model_fingerprint);
  encoding_fingerprint_ = profile_.EncodingFingerprint();
  key_taps_ = profile_.KeyTaps(&key_taps_of_head_);
  query_taps_ = profile_.QueryTaps(&query_taps_of_head_);
  const int64_t hidden = decoder_.config().hidden_size;
  for (const RetrievalHead& head : profile_.heads) {
    const bool probe = head.kind != RetrievalHead::Kind::kKey;
    const int64_t width = hidden * static_cast<int64_t>(std::max<size_t>(1, head.layers.size()));
    key_projections_.push_back(probe ? PackProjection(head.key_projection, head.dim, width) : kernels::PackedLinear());
    query_projections_.push_back(probe ? PackProjection(head.query_projection, head.dim, width)
                                       : kernels::PackedLinear());
  }
  const std::vector<TokenId> prefix = tokenizer_.EncodeIds(profile_.prefix, SpecialTokens::kParse);
  ILRE_ASSIGN_OR_RETURN(
      document_start_, decoder_.StartStream(prefix, Decoder::DepthOf(key_taps_), profile_.window, profile_.arithmetic));
  question_start_ = document_start_;
  const std::vector<TokenId> passage =
      tokenizer_.EncodeIds(profile_.neutral_passage, SpecialTokens::kPlainText, TextPosition::kContinued);
  const Tap deepest{Tap::Kind::kInput, Decoder::DepthOf(query_taps_)};
  for (size_t begin = 0; begin < passage.size(); begin += kBlockTokens) {
    std::vector<std::vector<float>> unused;
    ILRE_RETURN_IF_ERROR(decoder_.StreamBlock(absl::MakeConstSpan(passage).subspan(begin, kBlockTokens),
                                              absl::MakeConstSpan(&deepest, 1), &question_start_, &unused));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<HeadVectors>> RetrievalModel::EncodeBlock(absl::Span<const TokenId> ids,
                                                                     const bool* segment_starts,
                                                                     StreamState* state) const {
  std::vector<std::vector<float>> taps;
  ILRE_RETURN_IF_ERROR(decoder_.StreamBlock(ids, key_taps_, state, &taps));
  const int64_t n = static_cast<int64_t>(ids.size());
  std::vector<HeadVectors> vectors;
  for (size_t h = 0; h < profile_.heads.size(); ++h) {
    const RetrievalHead& head = profile_.heads[h];
    const std::vector<float>& tap = taps[key_taps_of_head_[h][0]];  // the only one, but of a pooled head
    if (head.kind == RetrievalHead::Kind::kPooled) {
      const std::vector<float> sums =
          PoolParts(taps, key_taps_of_head_[h], n, segment_starts, head.key_gate, head.key_gate_bias);
      const int64_t parts = static_cast<int64_t>(sums.size() / head.key_gate.size());
      std::vector<float> projected(static_cast<size_t>(parts * head.dim));
      key_projections_[h].Apply(sums.data(), parts, projected.data(), DefaultPool());
      vectors.push_back(StoreAs(head.type, projected, head.dim));
      continue;
    }
    if (head.kind == RetrievalHead::Kind::kKey) {
      vectors.push_back(StoreAs(head.type, Columns(tap, n, int64_t{head.key_head} * head.dim, head.dim), head.dim));
      continue;
    }
    std::vector<float> projected(static_cast<size_t>(n * head.dim));
    key_projections_[h].Apply(tap.data(), n, projected.data(), DefaultPool());
    kernels::NormalizeRows(projected.data(), n, head.dim, projected.data());
    vectors.push_back(StoreAs(head.type, projected, head.dim));
  }
  return vectors;
}

absl::StatusOr<std::vector<std::vector<float>>> RetrievalModel::RunQuery(absl::Span<const TokenId> ids) const {
  StreamState state = question_start_;
  std::vector<std::vector<float>> whole(query_taps_.size());
  for (size_t begin = 0; begin < ids.size(); begin += kBlockTokens) {
    std::vector<std::vector<float>> part;
    ILRE_RETURN_IF_ERROR(decoder_.StreamBlock(ids.subspan(begin, kBlockTokens), query_taps_, &state, &part));
    for (size_t i = 0; i < part.size(); ++i) whole[i].insert(whole[i].end(), part[i].begin(), part[i].end());
  }
  return whole;
}

absl::StatusOr<EncodedQuestion> RetrievalModel::EncodeQuestion(absl::string_view question) const {
  if (question.empty()) return errors::InvalidArgument("the question is empty");
  if (Utf8ValidPrefix(question) != question.size()) return errors::InvalidArgument("the question is not UTF-8");
  // Far more bytes than any question of the allowed length has: refused before tokenizing.
  if (question.size() > size_t{kMaxQuestionTokens} * 64) return errors::InvalidArgument("the question is too long");
  const std::vector<TokenId> ids = tokenizer_.EncodeIds(absl::StrCat(profile_.question_prefix, std::string(question)),
                                                        SpecialTokens::kPlainText, TextPosition::kContinued);
  if (ids.size() > kMaxQuestionTokens) {
    return errors::InvalidArgument(absl::StrCat("the question has ", ids.size(), " tokens; at most ",
                                                static_cast<int>(kMaxQuestionTokens), " are allowed"));
  }
  if (ids.empty()) return errors::InvalidArgument("the question has no tokens");
  ILRE_ASSIGN_OR_RETURN(const auto taps, RunQuery(ids));
  EncodedQuestion encoded;
  encoded.num_tokens = static_cast<int>(ids.size());
  AppendWordHashes(question, &encoded.word_hashes);
  std::sort(encoded.word_hashes.begin(), encoded.word_hashes.end());
  encoded.word_hashes.erase(std::unique(encoded.word_hashes.begin(), encoded.word_hashes.end()),
                            encoded.word_hashes.end());
  const int64_t n = encoded.num_tokens;
  for (size_t h = 0; h < profile_.heads.size(); ++h) {
    const RetrievalHead& head = profile_.heads[h];
    const std::vector<float>& tap = taps[query_taps_of_head_[h][0]];  // the only one, but of a pooled head
    QueryHead query{.dim = head.dim, .head_weight = head.weight};
    if (head.kind == RetrievalHead::Kind::kKey) {
      for (const int query_head : head.query_heads) {
        const std::vector<float> part = Columns(tap, n, int64_t{query_head} * head.dim, head.dim);
        query.vectors.insert(query.vectors.end(), part.begin(), part.end());
      }
      for (float& x : query.vectors) x /= decoder_.config().ScoreDivisor();
      query.weights.assign(static_cast<size_t>(n) * head.query_heads.size(), 1.0f);
    } else if (head.kind == RetrievalHead::Kind::kPooled) {
      const std::vector<float> sum = PoolParts(taps, query_taps_of_head_[h], n, nullptr, head.gate, head.gate_bias);
      query.vectors.resize(static_cast<size_t>(head.dim));
      query_projections_[h].Apply(sum.data(), 1, query.vectors.data(), DefaultPool());
      kernels::NormalizeRows(query.vectors.data(), 1, head.dim, query.vectors.data());
      query.weights = {1.0f};
      query.pooled = true;
    } else {
      query.vectors.resize(static_cast<size_t>(n * head.dim));
      query_projections_[h].Apply(tap.data(), n, query.vectors.data(), DefaultPool());
      kernels::NormalizeRows(query.vectors.data(), n, head.dim, query.vectors.data());
      for (int64_t token = 0; token < n; ++token) {
        const float* row = tap.data() + token * static_cast<int64_t>(head.gate.size());
        query.weights.push_back(GateWeight(head.gate, head.gate_bias, row));
      }
    }
    if (profile_.arithmetic == StreamArithmetic::kInt8) RoundToBf16(&query.vectors);
    encoded.heads.push_back(std::move(query));
  }
  return encoded;
}

}  // namespace ilre
