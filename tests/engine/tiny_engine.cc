#include "tests/engine/tiny_engine.h"

#include <cmath>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/check.h"
#include "common/base/status_macros.h"

namespace ilre {
namespace {

template <typename T>
T Unwrap(absl::StatusOr<T> value) {
  if (!value.ok()) std::fprintf(stderr, "%s\n", value.status().ToString().c_str());
  ILRE_CHECK(value.ok());
  return *std::move(value);
}

std::string BlockContent(const BlockView& block) {
  std::string content = absl::StrCat(block.block(), "|", block.fingerprint(), "|", block.text_begin(), "|");
  for (int i = 0; i < block.num_tokens(); ++i) absl::StrAppend(&content, block.id(i), "@", block.token_end(i), " ");
  absl::StrAppend(&content, block.segment_bitmap());
  for (size_t h = 0; h < block.heads().size(); ++h) {
    absl::StrAppend(&content, "|", block.vectors(static_cast<int>(h)), "|");
    if (block.heads()[h].type == VectorType::kInt8) absl::StrAppend(&content, block.scales(static_cast<int>(h)));
  }
  return content;
}

std::string PostingsContent(const LexicalData& data) {
  std::string content;
  for (const LexicalPosting& posting : data.postings) {
    absl::StrAppend(&content, posting.word_hash, "/", int{posting.segment}, "/", int{posting.count}, " ");
  }
  for (const uint16_t words : data.segment_words) absl::StrAppend(&content, "|", words);
  return content;
}

}  // namespace

std::vector<float> RandomVector(Random* random, size_t size) {
  std::vector<float> values(size);
  for (float& value : values) {
    value = static_cast<float>(random->Uniform() + random->Uniform() + random->Uniform() - 1.5);
  }
  return values;
}

RetrievalHead RandomProbe(const ModelConfig& model, Random* random, int layer, int dim, VectorType type) {
  RetrievalHead head{.kind = RetrievalHead::Kind::kProbe, .layer = layer, .dim = dim, .type = type};
  const auto hidden = static_cast<size_t>(model.hidden_size), size = static_cast<size_t>(dim) * hidden;
  head.key_projection = RandomVector(random, size);
  head.query_projection = RandomVector(random, size);
  head.gate = RandomVector(random, hidden);
  head.gate_bias = 0.25f;
  return head;
}

RetrievalHead RandomPooled(const ModelConfig& model, Random* random, std::vector<int> layers, int dim,
                           VectorType type) {
  const auto width = static_cast<size_t>(model.hidden_size) * layers.size();
  RetrievalHead head{.kind = RetrievalHead::Kind::kPooled, .layers = std::move(layers), .dim = dim, .type = type};
  head.key_projection = RandomVector(random, static_cast<size_t>(dim) * width);
  head.query_projection = RandomVector(random, static_cast<size_t>(dim) * width);
  head.gate = RandomVector(random, width);
  head.gate_bias = 0.25f;
  head.key_gate = RandomVector(random, width);
  head.key_gate_bias = -0.5f;
  return head;
}

RetrievalProfile RandomProfile(const ModelConfig& model, uint64_t seed) {
  Random random(seed);
  RetrievalProfile profile;
  profile.name = "random";
  profile.prefix = "<|start|>read: ";
  profile.window = 100;
  profile.max_segment = 40;
  profile.heads.push_back(RandomProbe(model, &random, 1, 16, VectorType::kBf16));
  profile.heads.push_back({.kind = RetrievalHead::Kind::kKey,
                           .layer = 1,
                           .dim = static_cast<int>(model.head_dim),
                           .type = VectorType::kInt8,
                           .weight = 0.5f,
                           .key_head = 1,
                           .query_heads = {2, 3}});
  profile.heads.push_back(RandomProbe(model, &random, static_cast<int>(model.num_layers), 24, VectorType::kInt8));
  profile.heads.back().weight = 2;
  profile.neutral_passage = "A bench stands by the gate. ";
  profile.question_prefix = "\n\n";
  profile.budget = 200;
  return profile;
}

TinyEngine::TinyEngine(absl::string_view model_name, const Change& change) {
  checkpoint_ = Unwrap(Checkpoint::Open(absl::StrCat("tests/model/data/", model_name)));
  tokenizer_ = Unwrap(Tokenizer::Create(checkpoint_->tokenizer()));
  decoder_ = Unwrap(Decoder::Load(*checkpoint_, {}));
  RetrievalProfile profile = RandomProfile(decoder_->config(), 7);
  profile.model = checkpoint_->fingerprint();
  if (change) change(&profile);
  model_ = Unwrap(RetrievalModel::Create(*decoder_, *tokenizer_, checkpoint_->fingerprint(), std::move(profile)));
}

std::unique_ptr<RetrievalModel> TinyEngine::With(const Change& change) const {
  RetrievalProfile changed = profile();
  change(&changed);
  return Unwrap(RetrievalModel::Create(*decoder_, *tokenizer_, checkpoint_->fingerprint(), std::move(changed)));
}

std::string MadeUpText(Random* random, size_t bytes) {
  static constexpr const char* kWords[] = {"harbour", "lamp",  "seven",  "été",    "north", "42",    "a",   "paper",
                                           "ab",      "abc",   "Kästen", "river",  "漢字",  "stone", "the", "1,204",
                                           "better",  "under", "😀",      "letter", "№",     "er",    "he",  "quarry"};
  static constexpr const char* kEnds[] = {". ", "! ", "? ", ".\" ", ".\n", "\n", "\n\n", "。", ". "};
  std::string text;
  while (text.size() < bytes) {
    const uint64_t words = random->Below(24) == 0 ? 60 : 1 + random->Below(12);
    for (uint64_t i = 0; i < words; ++i) {
      absl::StrAppend(&text, i > 0 ? " " : "", kWords[random->Below(std::size(kWords))]);
    }
    absl::StrAppend(&text, kEnds[random->Below(std::size(kEnds))]);
  }
  return text;
}

absl::StatusOr<DocumentRow> IngestWhole(KeyStore& store, const RetrievalModel& model, absl::string_view collection,
                                        absl::string_view document, absl::string_view text) {
  ILRE_ASSIGN_OR_RETURN(const auto ingest, DocumentIngest::Begin(store, model, collection, document, false, {}));
  ILRE_RETURN_IF_ERROR(ingest->Write(text));
  ILRE_RETURN_IF_ERROR(ingest->Finish());
  return ingest->row();
}

absl::StatusOr<DocumentContent> ReadContent(const KeyStoreReader& store, absl::string_view collection,
                                            absl::string_view document) {
  DocumentContent content;
  ILRE_ASSIGN_OR_RETURN(content.row, store.GetDocument(collection, document));
  const DocumentRow& row = content.row;
  ILRE_RETURN_IF_ERROR(store.VisitBlocks(row, 0, row.num_blocks, [&](const BlockView& block) {
    content.blocks.push_back(BlockContent(block));
    return absl::OkStatus();
  }));
  ILRE_RETURN_IF_ERROR(store.VisitLexical(row, 0, row.num_blocks, [&](uint32_t, const LexicalData& data) {
    content.postings.push_back(PostingsContent(data));
    return absl::OkStatus();
  }));
  ILRE_ASSIGN_OR_RETURN(content.text, store.ReadText(row, 0, row.num_blocks));
  content.row.collection = content.row.document = "";
  content.row.uid = content.row.revision = content.row.state_bytes = 0;
  content.row.create_time_ms = content.row.update_time_ms = 0;
  return content;
}

}  // namespace ilre
