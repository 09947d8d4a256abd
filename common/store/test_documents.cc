#include "common/store/test_documents.h"

#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <system_error>
#include <utility>

#include "common/base/check.h"

namespace ilre {
namespace {

constexpr uint64_t kFastFolderBytes = uint64_t{1} << 30;
constexpr int kVocabulary = 20'000;  // distinct words

// A word by its rank: the same letters for the same rank.
std::string Word(uint64_t rank) {
  Random letters(rank);
  std::string word(2 + letters.Below(3) + static_cast<uint64_t>(std::log2(1.0 + static_cast<double>(rank)) / 3), ' ');
  for (char& c : word) c = "etaoinshrdlucmfwypvbgk"[letters.Below(1 + letters.Below(22))];
  return word;
}

// Ranks as Zipf's law has them: uniform in their logarithm.
std::string RandomWord(Random* random) {
  return Word(static_cast<uint64_t>(std::exp(random->Uniform() * std::log(double{kVocabulary}))));
}

void FillLexical(Random* random, OwnedBlock* block) {
  const auto segments = static_cast<uint64_t>(std::count(block->starts.begin() + 1, block->starts.end(), 1)) + 1;
  block->lexical.segment_words.assign(segments, 0);
  std::map<std::pair<uint32_t, uint8_t>, uint8_t> counts;
  for (size_t words = 1 + block->ids.size() * 3 / 4; words > 0; --words) {
    const auto rank = static_cast<uint64_t>(std::exp(random->Uniform() * std::log(double{kVocabulary})));
    const auto segment = static_cast<uint8_t>(random->Below(segments));
    ++counts[{static_cast<uint32_t>(Random(rank).Next()), segment}];
    ++block->lexical.segment_words[segment];
  }
  for (const auto& [key, count] : counts) block->lexical.postings.push_back({key.first, key.second, count});
}

void FillVectors(Random* random, OwnedBlock* block) {
  for (const HeadFormat& head : block->heads) {
    const auto* starts = reinterpret_cast<const bool*>(block->starts.data());
    const size_t n = head.pooled ? static_cast<size_t>(CountParts(starts, block->starts.size())) : block->ids.size();
    std::string bytes(n * head.dim * (head.type == VectorType::kBf16 ? 2 : 1), '\0');
    for (size_t at = 0; at < bytes.size(); at += 8) {
      const uint64_t value = random->Next();
      std::memcpy(bytes.data() + at, &value, std::min<size_t>(8, bytes.size() - at));
    }
    block->vectors.push_back(std::move(bytes));
    block->scales.emplace_back(head.type == VectorType::kInt8 ? n : 0);
    for (float& scale : block->scales.back()) scale = static_cast<float>(random->Uniform());
  }
}

}  // namespace

BlockData OwnedBlock::View(uint64_t uid, uint32_t block, uint64_t fingerprint, uint64_t text_begin) const {
  static_assert(sizeof(bool) == 1);
  return {.document_uid = uid,
          .block = block,
          .fingerprint = fingerprint,
          .text_begin = text_begin,
          .ids = ids,
          .ends = ends,
          .segment_starts = reinterpret_cast<const bool*>(starts.data()),
          .heads = heads,
          .vectors = {vectors.begin(), vectors.end()},
          .scales = {scales.begin(), scales.end()}};
}

std::string RandomText(Random* random, size_t bytes) {
  std::string text;
  while (text.size() < bytes) text += RandomWord(random) + (random->Below(12) == 0 ? ". " : " ");
  text.resize(bytes);
  return text;
}

OwnedBlock RandomBlock(Random* random, int num_tokens, const std::vector<HeadFormat>& heads) {
  OwnedBlock block;
  uint32_t end = 0;
  for (int t = 0; t < num_tokens; ++t) {
    block.ids.push_back(static_cast<int32_t>(random->Below(49152)));
    block.ends.push_back(end += static_cast<uint32_t>(random->Below(9)));
    block.starts.push_back(random->Below(20) == 0 ? 1 : 0);
  }
  block.text = RandomText(random, end);
  block.heads = heads;
  FillVectors(random, &block);
  FillLexical(random, &block);
  return block;
}

bool SameBlock(const BlockView& view, const BlockData& block) {
  if (view.document_uid() != block.document_uid || view.block() != block.block ||
      view.fingerprint() != block.fingerprint || view.text_begin() != block.text_begin ||
      view.num_tokens() != static_cast<int>(block.ids.size()) || view.heads() != block.heads) {
    return false;
  }
  for (int t = 0; t < view.num_tokens(); ++t) {
    const auto i = static_cast<size_t>(t);
    if (view.id(t) != block.ids[i] || view.token_end(t) != block.ends[i] ||
        view.starts_segment(t) != block.segment_starts[i]) {
      return false;
    }
  }
  for (size_t h = 0; h < block.heads.size(); ++h) {
    if (view.vectors(static_cast<int>(h)) != block.vectors[h]) return false;
    for (size_t t = 0; t < block.scales[h].size(); ++t) {
      if (view.scale(static_cast<int>(h), static_cast<int>(t)) != block.scales[h][t]) return false;
    }
  }
  return true;
}

bool operator==(const LexicalPosting& a, const LexicalPosting& b) {
  return a.word_hash == b.word_hash && a.segment == b.segment && a.count == b.count;
}

bool operator==(const LexicalData& a, const LexicalData& b) {
  return a.postings == b.postings && a.segment_words == b.segment_words;
}

DocumentRow NewRow(const std::string& collection, const std::string& document) {
  return {.collection = collection,
          .document = document,
          .model = "00112233445566ff",
          .tokenizer = "8899aabbccddeeff",
          .profile = "0123456789abcdef"};
}

Commit MakeCommit(DocumentRow row, const std::vector<const OwnedBlock*>& blocks, uint32_t first_block,
                  uint64_t text_begin, const std::string& state, bool with_lexical) {
  Commit commit;
  const uint64_t fingerprint = CombinedFingerprint(row.model, row.tokenizer, row.profile);
  row.num_tokens = uint64_t{first_block} * kBlockTokens;
  row.num_blocks = first_block;
  for (const OwnedBlock* block : blocks) {
    commit.blocks.push_back({.data = block->View(row.uid, row.num_blocks, fingerprint, text_begin),
                             .text = block->text,
                             .lexical = with_lexical ? &block->lexical : nullptr});
    text_begin += block->text.size();
    row.num_tokens += block->ids.size();
    ++row.num_blocks;
  }
  row.committed_bytes = text_begin;
  commit.row = std::move(row);
  commit.state = state;
  return commit;
}

std::string FastFolder() {
  std::error_code error;
  const std::string memory = "/dev/shm";
  const std::filesystem::space_info space = std::filesystem::space(memory, error);
  if (!error && space.available >= kFastFolderBytes && ::access(memory.c_str(), W_OK) == 0) return memory;
  return std::filesystem::temp_directory_path().string();
}

TempFolder::TempFolder(const std::string& parent) : path_(parent + "/ilre-test-XXXXXX") {
  ILRE_CHECK(::mkdtemp(path_.data()) != nullptr);
}

TempFolder::~TempFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

}  // namespace ilre
