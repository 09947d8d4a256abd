#include "retriever_service/max_sim_scorer.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

#include "common/base/status_macros.h"
#include "common/kernels/max_sim.h"
#include "retriever_service/bm25.h"
#include "retriever_service/document_scan.h"
#include "retriever_service/pooled_score.h"

namespace ilre {
namespace {

constexpr uint32_t kBlocksPerRange = 32;
constexpr float kNone = -std::numeric_limits<float>::infinity();

// One head of the question, laid out for the kernels.
struct PackedHead {
  kernels::PackedQueries queries;
  std::vector<float> weights;  // [nq], the head's own weight included
  std::vector<float> pooled;   // the vector of a pooled head [dim], else empty

  // What is kept of a segment while it is read: for each question vector the maximum, or the sum of a pooled head.
  size_t width() const { return pooled.empty() ? weights.size() : pooled.size(); }
  float nothing() const { return pooled.empty() ? kNone : 0; }
  void Join(const float* part, float* whole) const {
    for (size_t i = 0; i < width(); ++i) whole[i] = pooled.empty() ? std::max(whole[i], part[i]) : whole[i] + part[i];
  }
  float Score(const float* kept) const;
};

std::vector<PackedHead> PackHeads(const EncodedQuestion& question) {
  std::vector<PackedHead> packed;
  for (const QueryHead& head : question.heads) {
    std::vector<float> weights = head.weights;
    const float total = std::max(1e-6f, std::accumulate(weights.begin(), weights.end(), 0.0f));
    for (float& weight : weights) weight *= head.head_weight / total;
    packed.push_back({kernels::PackedQueries(head.vectors.data(), head.num_vectors(), head.dim), std::move(weights),
                      head.pooled ? head.vectors : std::vector<float>()});
  }
  return packed;
}

float PackedHead::Score(const float* kept) const {
  if (!pooled.empty()) return weights[0] * PooledScore(pooled.data(), kept, static_cast<int>(pooled.size()));
  float sum = 0;
  for (size_t i = 0; i < weights.size(); ++i) sum += weights[i] * kept[i];
  return sum;
}

// What one range of blocks gives. A segment may run on from the range before and into the one after, so maxima (sums of
// pooled heads) of the parts at both ends are kept instead of scores.
struct RangeScores {
  uint32_t num_tokens = 0;
  std::vector<uint32_t> starts;  // tokens, counted in the document, at which segments start
  std::vector<float> scores;     // of segments that start and end here: one fewer than starts
  std::vector<float> head,
      tail;                   // [widths of all heads] what is kept before the first start (all, if none), from the last
  std::vector<WordHit> hits;  // segment: starts up to and with its own in this range; 0 runs on from before
  std::vector<uint32_t> words;  // [1 + starts]
};

class RangeScanner {
 public:
  RangeScanner(const std::vector<PackedHead>& heads, const std::vector<uint32_t>& question_words)
      : heads_(heads), question_words_(question_words) {
    for (const PackedHead& head : heads) open_.insert(open_.end(), head.width(), head.nothing());
  }

  void TakeBlock(const BlockView& block) {
    uint32_t num_starts = 0;
    const uint32_t first_token = block.block() * kBlockTokens;
    for (int token = 0; token < block.num_tokens(); ++token) {
      if (!block.starts_segment(token)) continue;
      out_.starts.push_back(first_token + static_cast<uint32_t>(token));
      ++num_starts;
    }
    out_.num_tokens += static_cast<uint32_t>(block.num_tokens());
    sums_.assign(num_starts + 1, 0.0f);
    size_t offset = 0;  // of this head's vectors among all
    closed_ = open_;
    for (size_t h = 0; h < heads_.size(); ++h) {
      ScoreHead(block, static_cast<int>(h), num_starts, offset);
      offset += heads_[h].width();
    }
    if (num_starts == 0) return;
    // Row 0 ends what was open: a whole segment if it started here, else the head.
    if (out_.starts.size() == num_starts) {
      out_.head = closed_;
    } else {
      out_.scores.push_back(sums_[0]);
    }
    out_.scores.insert(out_.scores.end(), sums_.begin() + 1, sums_.end() - 1);
  }

  void TakeWords(const LexicalData& lexical) {
    if (out_.words.empty()) out_.words.push_back(0);
    const uint32_t open = static_cast<uint32_t>(out_.words.size()) - 1;
    for (size_t i = 0; i < lexical.segment_words.size(); ++i) {
      if (i > 0) out_.words.push_back(0);
      out_.words.back() += lexical.segment_words[i];
    }
    for (size_t w = 0; w < question_words_.size(); ++w) {
      auto posting = std::lower_bound(lexical.postings.begin(), lexical.postings.end(), question_words_[w],
                                      [](const LexicalPosting& p, uint32_t hash) { return p.word_hash < hash; });
      for (; posting != lexical.postings.end() && posting->word_hash == question_words_[w]; ++posting) {
        out_.hits.push_back({open + posting->segment, static_cast<uint16_t>(w), posting->count});
      }
    }
  }

  RangeScores Finish() {
    (out_.starts.empty() ? out_.head : out_.tail) = open_;
    return std::move(out_);
  }

 private:
  void ScoreHead(const BlockView& block, int h, uint32_t num_starts, size_t offset) {
    const PackedHead& head = heads_[h];
    const size_t width = head.width();
    best_.assign((num_starts + 1) * width, head.nothing());
    std::copy_n(open_.begin() + static_cast<ptrdiff_t>(offset), width, best_.begin());
    if (head.pooled.empty()) {
      FindMaxima(block, h);
    } else {
      const int skip = block.starts_segment(0) ? 1 : 0;  // nothing runs on from before
      for (int part = 0; part < block.num_parts(); ++part) {
        AddPart(block, h, part, &best_[static_cast<size_t>(part + skip) * width]);
      }
    }
    for (uint32_t row = 0; row <= num_starts; ++row) sums_[row] += head.Score(&best_[row * width]);
    std::copy_n(best_.begin(), width, closed_.begin() + static_cast<ptrdiff_t>(offset));
    std::copy_n(best_.end() - static_cast<ptrdiff_t>(width), width, open_.begin() + static_cast<ptrdiff_t>(offset));
  }

  void FindMaxima(const BlockView& block, int h) {
    const PackedHead& head = heads_[h];
    const auto* keys = reinterpret_cast<const uint8_t*>(block.vectors(h).data());
    const auto* bitmap = reinterpret_cast<const uint8_t*>(block.segment_bitmap().data());
    if (block.heads()[h].type == VectorType::kBf16) {
      kernels::MaxSimBf16(keys, block.num_tokens(), head.queries, bitmap, best_.data());
    } else {
      kernels::MaxSimInt8(keys, reinterpret_cast<const uint8_t*>(block.scales(h).data()), block.num_tokens(),
                          head.queries, bitmap, best_.data());
    }
  }

  const std::vector<PackedHead>& heads_;
  const std::vector<uint32_t>& question_words_;
  RangeScores out_;
  std::vector<float> open_;    // [widths of all heads] what is kept of the segment that is open
  std::vector<float> closed_;  // [widths of all heads] that of row 0 of the last block
  std::vector<float> best_, sums_;
};

// Adds to each segment a share of its better neighbour's score. At a document's ends the segment stands in for the
// neighbour that is not there.
void AddNeighbours(std::vector<ScoredSegment>* segments, float weight) {
  const size_t n = segments->size();
  std::vector<float> own(n);
  for (size_t i = 0; i < n; ++i) own[i] = (*segments)[i].score;
  const auto same_document = [&](size_t i, size_t j) { return (*segments)[i].document == (*segments)[j].document; };
  for (size_t i = 0; i < n; ++i) {
    const float before = i > 0 && same_document(i - 1, i) ? own[i - 1] : own[i];
    const float after = i + 1 < n && same_document(i, i + 1) ? own[i + 1] : own[i];
    (*segments)[i].score += weight * std::max(before, after);
  }
}

// Joins ranges into segments of whole documents.
class Joiner {
 public:
  explicit Joiner(const std::vector<PackedHead>& heads) : heads_(heads) {}

  void TakeRange(const BlockRange& range, const RangeScores& scores) {
    if (range.begin == 0) {
      Close();
      document_ = range.document;
      next_token_ = 0;
    }
    // Words of local segment s belong to segment (open ones so far) + s - 1.
    const uint32_t open = static_cast<uint32_t>(segments_.size()) + (is_open_ ? 1 : 0);
    for (WordHit hit : scores.hits) {
      if (open + hit.segment == 0) continue;  // cannot be: a document's first token starts a segment
      hit.segment += open - 1;
      hits_.push_back(hit);
    }
    words_.resize(std::max<size_t>(words_.size(), open + scores.starts.size()));
    for (size_t i = 0; i < scores.words.size() && i <= scores.starts.size(); ++i) {
      if (open + i > 0) words_[open + i - 1] += scores.words[i];
    }
    if (is_open_) {
      const float* part = scores.head.data();
      float* whole = open_best_.data();
      for (const PackedHead& head : heads_) {
        head.Join(part, whole);
        part += head.width();
        whole += head.width();
      }
    }
    if (!scores.starts.empty()) {
      next_token_ = scores.starts[0];
      Close();
      for (size_t i = 0; i + 1 < scores.starts.size(); ++i) {
        segments_.push_back({document_, scores.starts[i], scores.starts[i + 1], scores.scores[i]});
      }
      is_open_ = true;
      open_begin_ = scores.starts.back();
      open_best_ = scores.tail;
    }
    next_token_ = range.begin * kBlockTokens + scores.num_tokens;
  }

  std::vector<ScoredSegment> Finish(size_t num_words, const RetrievalProfile::Lexical& lexical) {
    Close();
    if (lexical.weight > 0 && num_words > 0) {
      words_.resize(segments_.size());
      const std::vector<float> bm25 = Bm25Scores(std::move(hits_), words_, num_words, lexical.k1, lexical.b);
      for (size_t i = 0; i < segments_.size(); ++i) {
        const float share = lexical.power == 1 ? bm25[i] : std::pow(std::max(0.0f, bm25[i]), lexical.power);
        segments_[i].score += lexical.weight * share;
      }
    }
    return std::move(segments_);
  }

 private:
  void Close() {
    if (!is_open_) return;
    is_open_ = false;
    float score = 0;
    const float* best = open_best_.data();
    for (const PackedHead& head : heads_) {
      score += head.Score(best);
      best += head.width();
    }
    segments_.push_back({document_, open_begin_, next_token_, score});
  }

  const std::vector<PackedHead>& heads_;
  std::vector<ScoredSegment> segments_;
  std::vector<WordHit> hits_;
  std::vector<uint32_t> words_;
  uint32_t document_ = 0, next_token_ = 0, open_begin_ = 0;
  bool is_open_ = false;
  std::vector<float> open_best_;
};

}  // namespace

absl::StatusOr<std::vector<ScoredSegment>> ScoreByMaxSim(const KeyStoreReader& store,
                                                         absl::Span<const DocumentRow> documents,
                                                         const EncodedQuestion& question,
                                                         const RetrievalProfile& profile,
                                                         const std::function<bool()>& should_stop) {
  const std::vector<PackedHead> heads = PackHeads(question);
  const std::vector<HeadFormat> formats = profile.HeadFormats();
  const std::vector<BlockRange> ranges = SplitIntoRanges(documents, kBlocksPerRange);
  std::vector<RangeScores> scores(ranges.size());
  ILRE_RETURN_IF_ERROR(ForEachRange(ranges.size(), should_stop, [&](size_t i) -> absl::Status {
    const BlockRange& range = ranges[i];
    const DocumentRow& row = documents[range.document];
    RangeScanner scanner(heads, question.word_hashes);
    ILRE_RETURN_IF_ERROR(store.VisitBlocks(row, range.begin, range.end, [&](const BlockView& block) -> absl::Status {
      ILRE_RETURN_IF_ERROR(CheckBlockForm(block, row, formats));
      scanner.TakeBlock(block);
      return absl::OkStatus();
    }));
    if (profile.lexical.weight > 0) {
      ILRE_RETURN_IF_ERROR(store.VisitLexical(row, range.begin, range.end, [&](uint32_t, const LexicalData& lexical) {
        scanner.TakeWords(lexical);
        return absl::OkStatus();
      }));
    }
    scores[i] = scanner.Finish();
    return absl::OkStatus();
  }));
  Joiner joiner(heads);
  for (size_t i = 0; i < ranges.size(); ++i) joiner.TakeRange(ranges[i], scores[i]);
  std::vector<ScoredSegment> segments = joiner.Finish(question.word_hashes.size(), profile.lexical);
  if (profile.neighbour_weight > 0) AddNeighbours(&segments, profile.neighbour_weight);
  return segments;
}

}  // namespace ilre
