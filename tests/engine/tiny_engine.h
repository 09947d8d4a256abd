// The engine over a model of a few thousand random weights: everything of the real one but the size.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "common/base/random.h"
#include "common/model/checkpoint.h"
#include "common/model/decoder.h"
#include "common/model/tokenizer.h"
#include "common/retrieval/retrieval_model.h"
#include "common/store/key_store.h"
#include "encoder_service/document_ingest.h"

namespace ilre {

// Random numbers in about [-1, 1], bell-shaped.
std::vector<float> RandomVector(Random* random, size_t size);
RetrievalHead RandomProbe(const ModelConfig& model, Random* random, int layer, int dim, VectorType type);

RetrievalHead RandomPooled(const ModelConfig& model, Random* random, std::vector<int> layers, int dim, VectorType type);

// Three heads of every kind: a probe in bf16, key heads with two query heads in int8, and a probe in int8 over the last
// layer's output. Short window and segments, so that little text has many of both.
RetrievalProfile RandomProfile(const ModelConfig& model, uint64_t seed);

// One of the models in tests/model/data with a random profile. Aborts where the model cannot be read.
class TinyEngine {
 public:
  using Change = std::function<void(RetrievalProfile*)>;
  explicit TinyEngine(absl::string_view model_name = "tiny-llama", const Change& change = nullptr);

  const ModelConfig& config() const { return decoder_->config(); }
  const Decoder& decoder() const { return *decoder_; }
  const Tokenizer& tokenizer() const { return *tokenizer_; }
  const RetrievalModel& model() const { return *model_; }
  const RetrievalProfile& profile() const { return model_->profile(); }

  // The same weights with a profile changed further.
  std::unique_ptr<RetrievalModel> With(const Change& change) const;

 private:
  std::unique_ptr<Checkpoint> checkpoint_;
  std::unique_ptr<Tokenizer> tokenizer_;
  std::unique_ptr<Decoder> decoder_;
  std::unique_ptr<RetrievalModel> model_;
};

// Made-up prose of at least `bytes` bytes: sentences, lines, blank lines, numbers, characters of one to four bytes, and
// now and then a run of text without any boundary.
std::string MadeUpText(Random* random, size_t bytes);

// Writes `text` as a finished document, in one piece.
absl::StatusOr<DocumentRow> IngestWhole(KeyStore& store, const RetrievalModel& model, absl::string_view collection,
                                        absl::string_view document, absl::string_view text);

// A document as its store shows it, without what may differ between two ingests of one text: uid, times, revision, and
// the state, which says how far the end of the text was tokenized.
struct DocumentContent {
  DocumentRow row;
  std::vector<std::string> blocks;    // each block's members, one after the other
  std::vector<std::string> postings;  // the same
  std::string text;
  friend bool operator==(const DocumentContent&, const DocumentContent&) = default;
};
absl::StatusOr<DocumentContent> ReadContent(const KeyStoreReader& store, absl::string_view collection,
                                            absl::string_view document);

}  // namespace ilre
