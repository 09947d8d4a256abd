// The retrieval profile: everything that stored vectors and scores depend on. Made by `ilre calibrate`, kept as JSON
// beside a safetensors file with the weights of its probes, recorded (as a fingerprint) with each document.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/model/decoder.h"
#include "common/store/records.h"

namespace ilre {

// What gives each token, or each segment, its stored vector, and the question what is compared with it.
struct RetrievalHead {
  enum class Kind {
    // A trained projection of a layer's input h (divided by its root mean square): a token stores
    // normalize(Wk h); a question token compares with normalize(Wq h) and counts with weight softplus(g h + c).
    kProbe,
    // A key head of the model itself, before rotation; compared with the query heads that share it, over sqrt(dim).
    kKey,
    // One vector for each segment: with the inputs h of `layers` side by side, each divided by its root mean square, it
    // is Wk sum_t softplus(gk h_t + ck) h_t over the segment's tokens, and a question's the same with Wq, g and c; they
    // are compared by their cosine. Costs few bytes a token, and finds what is said in other words.
    kPooled,
  };
  Kind kind = Kind::kProbe;
  int layer = 0;            // from 0; not of kPooled
  std::vector<int> layers;  // kPooled: ascending
  int dim = 0;              // of the stored vector; for kKey the model's head size
  VectorType type = VectorType::kBf16;
  float weight = 1;              // of this head's scores in the sum over heads
  int key_head = 0;              // kKey: whose keys are stored
  std::vector<int> query_heads;  // kKey: which query heads look at them
  // kProbe and kPooled, in float32, row-major. width: hidden_size, of kPooled times the number of layers.
  std::vector<float> key_projection;    // Wk [dim, width]
  std::vector<float> query_projection;  // Wq [dim, width]
  std::vector<float> gate;              // g [width]
  float gate_bias = 0;                  // c
  std::vector<float> key_gate;          // kPooled: gk [width]
  float key_gate_bias = 0;              // kPooled: ck

  int deepest_layer() const { return kind == Kind::kPooled && !layers.empty() ? layers.back() : layer; }
};

struct RetrievalProfile {
  static constexpr int kFormat = 1;

  std::string name;
  std::string model;  // fingerprint of the weights it was made for

  // --- What stored bytes depend on.
  std::string prefix;  // the stream's sinks, before every document; control tokens are parsed
  int window = 256;    // tokens that a token sees
  StreamArithmetic arithmetic = StreamArithmetic::kBf16;  // of the layers below the heads
  int max_segment = 96;                                   // tokens; longer sentences and lines are cut
  int max_indented = 0;  // tokens of a segment that indented lines are added to; 0: every line begins one (segmenter.h)
  bool lexical_postings = true;  // whether words are indexed beside the vectors
  std::vector<RetrievalHead> heads;

  // --- What scores depend on.
  std::string neutral_passage;  // read before every question, in place of a document
  std::string question_prefix;  // between the passage and the question, for example "\n\nQuestion: "
  enum class Scoring {
    // The mean over question tokens, by their weights, of the maximum over the segment's tokens; of a pooled head the
    // cosine.
    kMaxSim,
    kAttention,  // softmax over all tokens of the searched documents, as in arXiv 2508.17892
  };
  Scoring scoring = Scoring::kMaxSim;

  struct Attention {  // of Scoring::kAttention
    enum class Positions { kNone, kAbsolute };
    Positions positions =
        Positions::kNone;  // kAbsolute: keys and queries rotated by their place in document + question; key heads only
    enum class Reduce { kMax, kSum };
    Reduce reduce = Reduce::kMax;  // over question tokens (and heads)
    struct Kernel {
      int size = 1;    // tokens, odd: a token's score becomes the maximum of its neighbourhood
      int budget = 0;  // tokens taken by this kernel; of a smaller whole budget, its share
    };
    std::vector<Kernel> kernels;  // empty: whole segments by the sum of their tokens' scores
  };
  Attention attention;

  struct Lexical {
    // Of BM25 in the sum, as a share of the greatest BM25 score that the question could have; 0: not used.
    float weight = 0;
    float k1 = 0.9f, b = 0.4f;
    // The share is raised to this. Above 1, a few common words that a question happens to share with a text count for
    // little beside the heads, and many or rare ones for as much as ever.
    float power = 1;
  };
  Lexical lexical;

  // Of the better neighbour's score that is added to a segment's own: sentences that say "he" or "this" stand beside
  // the one that names the thing.
  float neighbour_weight = 0;

  // After the first look, what it found becomes a query (retriever_service/second_look.h): for chains and questions of
  // several steps. Only with Scoring::kMaxSim, and only where documents have postings.
  struct SecondLook {
    int max_looks = 0;      // at the most, after the first; each follows what the one before found; 0: none
    float weight = 1;       // how far a segment that is wholly linked to the best one comes up to it, in [0, 1]
    float floor = 0.7f;     // segments this share of the way from the median score to the best one are followed
    float min_link = 0.3f;  // weaker links do not count
    int max_sources = 8;    // segments that one look follows
  };
  SecondLook second_look;

  struct Rerank {
    int shortlist = 0;  // tokens that are looked at again; 0: no rerank
    int layer = 0;
    int query_head = 0;
  };
  Rerank rerank;

  int budget = 512;  // tokens recalled if a request does not say
  // Of what is recalled, the prompt for the answer holds only segments that score at least this share of the way from
  // the median of all segments to the best one (a small model answers better from little text); 0: all that is
  // recalled.
  float prompt_floor = 0;
  int min_prompt = 0;  // tokens that go into the prompt whatever the floor says
  // Segments between this share of the way and the floor go into the prompt, too, where they hold a rare word of the
  // question (retriever_service/question_words.h); 0: none. At most prompt_floor.
  float prompt_word_floor = 0;

  absl::Status Validate(const ModelConfig& model) const;
  std::vector<HeadFormat> HeadFormats() const;
  // Taps of the model that give the stored vectors: one a distinct (kind, layer), and which of them each head uses:
  // one, or of a pooled head one a layer.
  std::vector<Tap> KeyTaps(std::vector<std::vector<int>>* taps_of_head) const;
  // Taps for questions.
  std::vector<Tap> QueryTaps(std::vector<std::vector<int>>* taps_of_head) const;
  // 16 hexadecimal digits over what stored bytes depend on; changing how scores are computed leaves it.
  std::string EncodingFingerprint() const;
};

// Reads a profile: `path` is the JSON file; its weights lie beside it. Errors name the file and the field.
absl::StatusOr<RetrievalProfile> LoadProfile(const std::string& path);

// Writes `path` and, for probes, the safetensors file beside it (the same name with .safetensors).
absl::Status SaveProfile(const RetrievalProfile& profile, const std::string& path);

}  // namespace ilre
