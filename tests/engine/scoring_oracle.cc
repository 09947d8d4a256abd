#include "tests/engine/scoring_oracle.h"

#include <algorithm>
#include <bit>
#include <cctype>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

#include "common/base/check.h"
#include "common/model/decoder.h"
#include "common/retrieval/lexical.h"

namespace ilre {
namespace {

// The number that one element of a stored vector stands for.
double Element(const BlockView& block, int head, int token, int dimension) {
  const int dim = block.heads()[static_cast<size_t>(head)].dim;
  const char* bytes = block.vectors(head).data();
  if (block.heads()[static_cast<size_t>(head)].type == VectorType::kInt8) {
    return static_cast<double>(static_cast<int8_t>(bytes[token * dim + dimension])) * block.scale(head, token);
  }
  uint16_t bits;
  std::memcpy(&bits, bytes + 2 * (token * dim + dimension), sizeof(bits));
  return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}

void AddBlock(const BlockView& block, PlainDocument* document) {
  for (int token = 0; token < block.num_tokens(); ++token) {
    if (block.starts_segment(token)) document->starts.push_back(document->num_tokens());
    document->ids.push_back(block.id(token));
    document->ends.push_back(block.text_begin() + block.token_end(token));
    for (size_t h = 0; h < block.heads().size(); ++h) {
      if (block.heads()[h].pooled) continue;
      std::vector<double>& vector = document->vectors[h].emplace_back();
      for (int i = 0; i < block.heads()[h].dim; ++i) vector.push_back(Element(block, static_cast<int>(h), token, i));
    }
  }
}

// The parts of segments in a block: added to the segment that was open, or of their own.
void AddPooled(const BlockView& block, size_t segments_before, PlainDocument* document) {
  for (size_t h = 0; h < block.heads().size(); ++h) {
    if (!block.heads()[h].pooled) continue;
    size_t segment = segments_before - (block.starts_segment(0) ? 0 : 1);
    for (int part = 0; part < block.num_parts(); ++part, ++segment) {
      document->vectors[h].resize(segment + 1, std::vector<double>(block.heads()[h].dim, 0));
      for (int i = 0; i < block.heads()[h].dim; ++i) {
        document->vectors[h][segment][static_cast<size_t>(i)] += Element(block, static_cast<int>(h), part, i);
      }
    }
  }
}

double Dot(const float* query, const std::vector<double>& key) {
  double sum = 0;
  for (size_t i = 0; i < key.size(); ++i) sum += query[i] * key[i];
  return sum;
}

// Sum over heads, mean over question vectors, maximum over tokens.
// Of a pooled head the cosine.
double SegmentMaxSim(const PlainDocument& document, size_t segment, const EncodedQuestion& question) {
  const uint32_t begin = document.starts[segment], end = document.segment_end(segment);
  double score = 0;
  for (size_t h = 0; h < question.heads.size(); ++h) {
    const QueryHead& head = question.heads[h];
    if (head.pooled) {
      const std::vector<double>& vector = document.vectors[h][segment];
      double squares = 0;
      for (const double x : vector) squares += x * x;
      score += head.head_weight * Dot(head.vectors.data(), vector) / std::sqrt(squares);
      continue;
    }
    double sum = 0, weights = 0;
    for (int q = 0; q < head.num_vectors(); ++q) {
      double best = -std::numeric_limits<double>::infinity();
      for (uint32_t token = begin; token < end; ++token) {
        best = std::max(best, Dot(&head.vectors[static_cast<size_t>(q) * head.dim], document.vectors[h][token]));
      }
      sum += head.weights[q] * best;
      weights += head.weights[q];
    }
    score += head.head_weight * sum / weights;
  }
  return score;
}

// BM25 of each segment as a share of the greatest score that the question's words could have.
std::vector<double> OracleBm25(const std::vector<std::vector<uint32_t>>& segments, const std::vector<uint32_t>& words,
                               double k1, double b) {
  const double n = static_cast<double>(segments.size());
  double total_words = 0;
  for (const auto& segment : segments) total_words += static_cast<double>(segment.size());
  const double mean_words = std::max(1.0, total_words / n);
  std::vector<double> scores(segments.size(), 0);
  double greatest = 0;
  for (const uint32_t word : words) {
    double found_in = 0;
    for (const auto& segment : segments) found_in += std::count(segment.begin(), segment.end(), word) > 0;
    const double idf = std::log(1 + (n - found_in + 0.5) / (found_in + 0.5));
    greatest += idf * (k1 + 1);
    for (size_t i = 0; i < segments.size(); ++i) {
      const auto count = static_cast<double>(std::count(segments[i].begin(), segments[i].end(), word));
      const double length = static_cast<double>(segments[i].size()) / mean_words;
      scores[i] += idf * count * (k1 + 1) / (count + k1 * (1 - b + b * length));
    }
  }
  for (double& score : scores) score = greatest > 0 ? score / greatest : 0;
  return scores;
}

// A vector rotated by its place (Su et al., "RoFormer", 2021), pairs (i, i + dim / 2).
std::vector<double> Rotated(std::vector<double> x, uint64_t place, const ModelConfig& model) {
  const size_t half = x.size() / 2;
  for (size_t i = 0; i < half; ++i) {
    double frequency = std::pow(model.rope_theta, -2.0 * static_cast<double>(i) / static_cast<double>(x.size()));
    if (!model.rope_frequency_factors.empty()) frequency /= model.rope_frequency_factors[i];
    const double angle = static_cast<double>(place) * frequency, a = x[i], b = x[i + half];
    x[i] = a * std::cos(angle) - b * std::sin(angle);
    x[i + half] = b * std::cos(angle) + a * std::sin(angle);
  }
  return x;
}

}  // namespace

PlainDocument ReadPlain(const KeyStoreReader& store, const DocumentRow& row) {
  PlainDocument document;
  const absl::Status visited = store.VisitBlocks(row, 0, row.num_blocks, [&](const BlockView& block) {
    document.vectors.resize(block.heads().size());
    const size_t segments_before = document.starts.size();
    AddBlock(block, &document);
    AddPooled(block, segments_before, &document);
    return absl::OkStatus();
  });
  ILRE_CHECK(visited.ok());
  absl::StatusOr<std::string> text = store.ReadText(row, 0, row.num_blocks);
  ILRE_CHECK(text.ok());
  document.text = *std::move(text);
  return document;
}

std::vector<std::vector<uint32_t>> SegmentWords(const PlainDocument& document) {
  std::vector<std::vector<uint32_t>> words(document.starts.size());
  const auto is_word = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0; };
  for (uint32_t first = 0; first < document.num_tokens(); first += kBlockTokens) {
    const uint64_t block_end = document.ends[std::min(first + kBlockTokens, document.num_tokens()) - 1];
    for (uint64_t at = document.byte_begin(first); at < block_end;) {
      uint64_t end = at;
      while (end < block_end && is_word(document.text[end])) ++end;
      if (end > at) {
        const auto token = std::upper_bound(document.ends.begin(), document.ends.end(), at) - document.ends.begin();
        const auto segment =
            std::upper_bound(document.starts.begin(), document.starts.end(), token) - document.starts.begin() - 1;
        AppendWordHashes(absl::string_view(document.text).substr(at, end - at), &words[static_cast<size_t>(segment)]);
      }
      at = end + 1;
    }
  }
  return words;
}

std::vector<ScoredSegment> OracleMaxSim(absl::Span<const PlainDocument> documents, const EncodedQuestion& question,
                                        const RetrievalProfile& profile) {
  std::vector<ScoredSegment> segments;
  std::vector<double> scores;
  std::vector<std::vector<uint32_t>> words;
  for (uint32_t d = 0; d < documents.size(); ++d) {
    const PlainDocument& document = documents[d];
    for (size_t i = 0; i < document.starts.size(); ++i) {
      segments.push_back({d, document.starts[i], document.segment_end(i), 0});
      scores.push_back(SegmentMaxSim(document, i, question));
    }
    for (auto& segment : SegmentWords(document)) words.push_back(std::move(segment));
  }
  if (profile.lexical.weight > 0) {
    const std::vector<double> bm25 = OracleBm25(words, question.word_hashes, profile.lexical.k1, profile.lexical.b);
    for (size_t i = 0; i < scores.size(); ++i)
      scores[i] += profile.lexical.weight * std::pow(bm25[i], profile.lexical.power);
  }
  for (size_t i = 0; i < segments.size(); ++i) {
    const bool first = i == 0 || segments[i - 1].document != segments[i].document;
    const bool last = i + 1 == segments.size() || segments[i + 1].document != segments[i].document;
    const double better = std::max(first ? scores[i] : scores[i - 1], last ? scores[i] : scores[i + 1]);
    segments[i].score = static_cast<float>(scores[i] + profile.neighbour_weight * better);
  }
  return segments;
}

std::vector<std::vector<double>> OracleAttention(absl::Span<const PlainDocument> documents,
                                                 const EncodedQuestion& question, const RetrievalProfile& profile,
                                                 const ModelConfig& model) {
  using Attention = RetrievalProfile::Attention;
  const bool rotated = profile.attention.positions == Attention::Positions::kAbsolute;
  std::vector<std::vector<double>> scores;
  for (const PlainDocument& document : documents) scores.emplace_back(document.num_tokens(), 0.0);
  for (size_t h = 0; h < question.heads.size(); ++h) {
    const QueryHead& head = question.heads[h];
    for (int q = 0; q < head.num_vectors(); ++q) {
      const float* begin = &head.vectors[static_cast<size_t>(q) * head.dim];
      std::vector<std::vector<double>> z;
      double sum = 0;
      for (const PlainDocument& document : documents) {
        std::vector<double> query(begin, begin + head.dim);
        if (rotated) query = Rotated(query, document.num_tokens() + q % question.num_tokens, model);
        std::vector<double>& products = z.emplace_back();
        for (uint32_t token = 0; token < document.num_tokens(); ++token) {
          std::vector<double> key = document.vectors[h][token];
          if (rotated) key = Rotated(key, token, model);
          double product = 0;
          for (size_t i = 0; i < key.size(); ++i) product += query[i] * key[i];
          products.push_back(product);
          sum += std::exp(product);
        }
      }
      for (size_t d = 0; d < documents.size(); ++d) {
        for (size_t token = 0; token < z[d].size(); ++token) {
          const double attention = head.head_weight * std::exp(z[d][token]) / sum;
          double& score = scores[d][token];
          score = profile.attention.reduce == Attention::Reduce::kMax ? std::max(score, attention) : score + attention;
        }
      }
    }
  }
  return scores;
}

}  // namespace ilre
