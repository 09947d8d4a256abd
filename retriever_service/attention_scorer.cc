#include "retriever_service/attention_scorer.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <deque>
#include <limits>
#include <numeric>
#include <tuple>
#include <utility>

#include "common/base/status_macros.h"
#include "common/base/thread_pool.h"
#include "common/kernels/elementwise.h"
#include "common/kernels/max_sim.h"
#include "retriever_service/document_scan.h"

namespace ilre {
namespace {

constexpr uint32_t kBlocksPerRange = 16;

// log of a sum of exponentials, taken in step by step (Milakov and Gimelshein, "Online normalizer calculation for
// softmax", 2018).
struct LogSum {
  float largest = -std::numeric_limits<float>::infinity();
  double sum = 0;
  void Add(float z) {
    if (z > largest) {
      sum = sum * std::exp(static_cast<double>(largest) - z) + 1;
      largest = z;
    } else {
      sum += std::exp(static_cast<double>(z) - largest);
    }
  }
  void Merge(const LogSum& other) {
    if (other.sum == 0) return;
    if (other.largest > largest) {
      sum = sum * std::exp(static_cast<double>(largest) - other.largest) + other.sum;
      largest = other.largest;
    } else {
      sum += other.sum * std::exp(static_cast<double>(other.largest) - largest);
    }
  }
  float value() const { return largest + static_cast<float>(std::log(sum)); }
};

// Rotates rows of x [n, dim] by their places first, first + 1, ...
void RotateRows(float* x, int n, int dim, int64_t first, const std::vector<float>& frequencies) {
  std::vector<float> cosines, sines;
  for (int64_t place = first; place < first + n; ++place) {
    for (const float frequency : frequencies) {
      const double angle = static_cast<double>(place) * frequency;
      cosines.push_back(static_cast<float>(std::cos(angle)));
      sines.push_back(static_cast<float>(std::sin(angle)));
    }
  }
  ThreadPool here(1);
  kernels::Rope(x, n, 1, dim, cosines.data(), sines.data(), here);
}

// The products z = q . k of one question with blocks of one document.
class Products {
 public:
  Products(const EncodedQuestion& question, const RetrievalProfile& profile, const ModelConfig& model,
           uint64_t document_tokens)
      : rotated_(profile.attention.positions == RetrievalProfile::Attention::Positions::kAbsolute) {
    for (const QueryHead& head : question.heads) {
      const bool local = model.IsLocal(profile.heads[heads_.size()].layer);
      frequencies_.push_back(rotated_ ? RotaryFrequencies(model, local) : std::vector<float>());
      std::vector<float> vectors = head.vectors;
      const int n = question.num_tokens;
      if (rotated_) {
        for (size_t begin = 0; begin < vectors.size(); begin += static_cast<size_t>(n) * head.dim) {
          RotateRows(vectors.data() + begin, n, head.dim, static_cast<int64_t>(document_tokens), frequencies_.back());
        }
      }
      heads_.emplace_back(vectors.data(), head.num_vectors(), head.dim);
    }
  }

  // z of head h: [tokens of block, vectors of the head]
  const std::vector<float>& Compute(const BlockView& block, size_t h) {
    const kernels::PackedQueries& queries = heads_[h];
    const int n = block.num_tokens();
    z_.resize(static_cast<size_t>(n) * queries.num_queries());
    const auto* keys = reinterpret_cast<const uint8_t*>(block.vectors(static_cast<int>(h)).data());
    if (rotated_) {
      Rotate(block, static_cast<int>(h), queries.dim());
      DotFloats(n, queries);
    } else if (block.heads()[h].type == VectorType::kInt8) {
      kernels::DotInt8(keys, reinterpret_cast<const uint8_t*>(block.scales(static_cast<int>(h)).data()), n, queries,
                       z_.data());
    } else {
      kernels::DotBf16(keys, n, queries, z_.data());
    }
    return z_;
  }
  size_t num_heads() const { return heads_.size(); }
  int num_queries(size_t h) const { return heads_[h].num_queries(); }

 private:
  // z of floats_ [n, dim], which are given to the kernel in two parts of eight bits each: rounding rotated keys to one
  // would lose more than their storage does.
  void DotFloats(int n, const kernels::PackedQueries& queries) {
    const auto count = static_cast<int64_t>(floats_.size());
    const auto* bytes = reinterpret_cast<const uint8_t*>(bits_.data());
    kernels::ConvertToBf16(floats_.data(), count, bits_.data());
    kernels::DotBf16(bytes, n, queries, z_.data());
    rounded_.resize(floats_.size());
    kernels::ConvertFromBf16(bits_.data(), count, rounded_.data());
    for (size_t i = 0; i < floats_.size(); ++i) floats_[i] -= rounded_[i];
    kernels::ConvertToBf16(floats_.data(), count, bits_.data());
    rest_.resize(z_.size());
    kernels::DotBf16(bytes, n, queries, rest_.data());
    for (size_t i = 0; i < z_.size(); ++i) z_[i] += rest_[i];
  }

  // The keys of head h, rotated by their places in the document -> floats_.
  void Rotate(const BlockView& block, int h, int dim) {
    const int64_t count = int64_t{block.num_tokens()} * dim;
    const char* stored = block.vectors(h).data();
    bits_.resize(static_cast<size_t>(count));
    floats_.resize(static_cast<size_t>(count));
    if (block.heads()[static_cast<size_t>(h)].type == VectorType::kInt8) {
      for (int64_t i = 0; i < count; ++i) {
        floats_[i] = static_cast<float>(static_cast<int8_t>(stored[i])) * block.scale(h, static_cast<int>(i / dim));
      }
    } else {
      std::memcpy(bits_.data(), stored, bits_.size() * sizeof(uint16_t));
      kernels::ConvertFromBf16(bits_.data(), count, floats_.data());
    }
    RotateRows(floats_.data(), block.num_tokens(), dim, int64_t{block.block()} * kBlockTokens,
               frequencies_[static_cast<size_t>(h)]);
  }

  bool rotated_;
  std::vector<std::vector<float>> frequencies_;  // [heads]; empty where nothing is rotated
  std::deque<kernels::PackedQueries> heads_;
  std::vector<float> z_, floats_, rounded_, rest_;
  std::vector<uint16_t> bits_;
};

// Token scores of one block from z and the normalisers.
void AddScores(const std::vector<float>& z, const std::vector<float>& log_sums, float weight,
               RetrievalProfile::Attention::Reduce reduce, float* scores) {
  const size_t nq = log_sums.size(), n = z.size() / nq;
  for (size_t token = 0; token < n; ++token) {
    for (size_t q = 0; q < nq; ++q) {
      const float attention = weight * std::exp(z[token * nq + q] - log_sums[q]);
      scores[token] = reduce == RetrievalProfile::Attention::Reduce::kMax ? std::max(scores[token], attention)
                                                                          : scores[token] + attention;
    }
  }
}

}  // namespace

absl::StatusOr<TokenScores> ScoreByAttention(const KeyStoreReader& store, absl::Span<const DocumentRow> documents,
                                             const EncodedQuestion& question, const RetrievalProfile& profile,
                                             const ModelConfig& model, const std::function<bool()>& should_stop) {
  const std::vector<HeadFormat> formats = profile.HeadFormats();
  const std::vector<BlockRange> ranges = SplitIntoRanges(documents, kBlocksPerRange);
  const size_t num_heads = question.heads.size();

  // First pass: each question vector's normaliser over all documents.
  std::vector<std::vector<std::vector<LogSum>>> partial(ranges.size());  // [range][head][vector]
  const auto visit = [&](size_t i, const std::function<void(const BlockView&)>& take) {
    const DocumentRow& row = documents[ranges[i].document];
    return store.VisitBlocks(row, ranges[i].begin, ranges[i].end, [&](const BlockView& block) -> absl::Status {
      ILRE_RETURN_IF_ERROR(CheckBlockForm(block, row, formats));
      take(block);
      return absl::OkStatus();
    });
  };
  ILRE_RETURN_IF_ERROR(ForEachRange(ranges.size(), should_stop, [&](size_t i) {
    Products products(question, profile, model, documents[ranges[i].document].num_tokens);
    partial[i].resize(num_heads);
    for (size_t h = 0; h < num_heads; ++h) partial[i][h].resize(products.num_queries(h));
    return visit(i, [&](const BlockView& block) {
      for (size_t h = 0; h < num_heads; ++h) {
        const std::vector<float>& z = products.Compute(block, h);
        const size_t nq = partial[i][h].size();
        for (size_t j = 0; j < z.size(); ++j) partial[i][h][j % nq].Add(z[j]);
      }
    });
  }));
  std::vector<std::vector<float>> log_sums(num_heads);
  for (size_t h = 0; h < num_heads; ++h) {
    std::vector<LogSum> whole(question.heads[h].num_vectors());
    for (const auto& part : partial) {
      for (size_t q = 0; q < whole.size(); ++q) whole[q].Merge(part[h][q]);
    }
    for (const LogSum& sum : whole) log_sums[h].push_back(sum.value());
  }

  // Second pass: token scores and where segments start.
  TokenScores result;
  for (const DocumentRow& row : documents) result.scores.emplace_back(row.num_tokens, 0.0f);
  std::vector<std::vector<uint32_t>> starts(ranges.size());
  ILRE_RETURN_IF_ERROR(ForEachRange(ranges.size(), should_stop, [&](size_t i) {
    Products products(question, profile, model, documents[ranges[i].document].num_tokens);
    return visit(i, [&](const BlockView& block) {
      const uint32_t first = block.block() * kBlockTokens;
      for (int token = 0; token < block.num_tokens(); ++token) {
        if (block.starts_segment(token)) starts[i].push_back(first + static_cast<uint32_t>(token));
      }
      for (size_t h = 0; h < num_heads; ++h) {
        AddScores(products.Compute(block, h), log_sums[h], question.heads[h].head_weight, profile.attention.reduce,
                  result.scores[ranges[i].document].data() + first);
      }
    });
  }));
  for (size_t i = 0; i < ranges.size(); ++i) {
    for (const uint32_t start : starts[i]) {
      if (start > 0) result.segments.back().end = start;
      result.segments.push_back(
          {ranges[i].document, start, static_cast<uint32_t>(documents[ranges[i].document].num_tokens), 0});
    }
  }
  for (ScoredSegment& segment : result.segments) {
    const std::vector<float>& scores = result.scores[segment.document];
    segment.score = std::accumulate(scores.begin() + segment.begin, scores.begin() + segment.end, 0.0f);
  }
  return result;
}

namespace {

// Maximum over the centred window of `size` tokens, by a queue of candidates in descending order.
std::vector<float> MaxPool(const std::vector<float>& x, int size) {
  const int64_t n = static_cast<int64_t>(x.size()), half = size / 2;
  std::vector<float> out(x.size());
  std::deque<int64_t> candidates;
  for (int64_t right = 0; right < n + half; ++right) {
    if (right < n) {
      while (!candidates.empty() && x[candidates.back()] <= x[right]) candidates.pop_back();
      candidates.push_back(right);
    }
    const int64_t centre = right - half;
    if (centre < 0) continue;
    while (candidates.front() < centre - half) candidates.pop_front();
    out[centre] = x[candidates.front()];
  }
  return out;
}

}  // namespace

std::vector<ScoredSegment> SelectByPooling(const std::vector<std::vector<float>>& scores,
                                           absl::Span<const RetrievalProfile::Attention::Kernel> kernels, int budget) {
  struct Place {
    float score;
    uint32_t document, token;
  };
  int64_t shares = 0;
  for (const auto& kernel : kernels) shares += kernel.budget;
  std::vector<std::vector<bool>> taken;
  for (const auto& document : scores) taken.emplace_back(document.size(), false);
  int64_t left = budget;
  for (size_t k = 0; k < kernels.size(); ++k) {
    const int64_t share = k + 1 == kernels.size() ? left : budget * int64_t{kernels[k].budget} / shares;
    std::vector<Place> places;
    for (uint32_t d = 0; d < scores.size(); ++d) {
      const std::vector<float> pooled = MaxPool(scores[d], kernels[k].size);
      for (uint32_t t = 0; t < pooled.size(); ++t) {
        if (!taken[d][t]) places.push_back({pooled[t], d, t});
      }
    }
    const size_t count = std::min<size_t>(places.size(), static_cast<size_t>(std::min(share, left)));
    std::partial_sort(places.begin(), places.begin() + static_cast<ptrdiff_t>(count), places.end(),
                      [](const Place& a, const Place& b) {
                        return std::tie(b.score, a.document, a.token) < std::tie(a.score, b.document, b.token);
                      });
    for (size_t i = 0; i < count; ++i) taken[places[i].document][places[i].token] = true;
    left -= static_cast<int64_t>(count);
  }
  std::vector<ScoredSegment> chosen;
  for (uint32_t d = 0; d < scores.size(); ++d) {
    for (uint32_t t = 0; t < taken[d].size(); ++t) {
      if (!taken[d][t]) continue;
      if (t == 0 || !taken[d][t - 1]) chosen.push_back({d, t, t, 0});
      chosen.back().end = t + 1;
      chosen.back().score += scores[d][t];
    }
  }
  return chosen;
}

}  // namespace ilre
