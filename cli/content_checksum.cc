#include "cli/content_checksum.h"

#include <type_traits>

#include "xxhash.h"

namespace ilre::cli {
namespace {

class Hash {
 public:
  void Bytes(absl::string_view bytes) {
    Number(bytes.size());  // where one part ends is part of the content
    value_ = XXH3_64bits_withSeed(bytes.data(), bytes.size(), value_);
  }
  template <typename T>
  void Number(T number) {
    static_assert(std::is_integral_v<T>);
    const auto wide = static_cast<uint64_t>(number);
    value_ = XXH3_64bits_withSeed(&wide, sizeof(wide), value_);
  }
  uint64_t value() const { return value_; }

 private:
  uint64_t value_ = 0;
};

}  // namespace

uint64_t ContentChecksum(const BlockView& block, absl::string_view text, const LexicalData* postings) {
  Hash hash;
  hash.Number(block.fingerprint());
  hash.Number(block.text_begin());
  for (int i = 0; i < block.num_tokens(); ++i) {
    hash.Number(block.id(i));
    hash.Number(block.token_end(i));
  }
  hash.Bytes(block.segment_bitmap());
  for (size_t h = 0; h < block.heads().size(); ++h) {
    hash.Number(block.heads()[h].dim);
    hash.Bytes(block.vectors(static_cast<int>(h)));
    if (block.heads()[h].type == VectorType::kInt8) hash.Bytes(block.scales(static_cast<int>(h)));
  }
  hash.Bytes(text);
  if (postings == nullptr) return hash.value();
  for (const LexicalPosting& posting : postings->postings) {
    hash.Number(posting.word_hash);
    hash.Number(posting.segment);
    hash.Number(posting.count);
  }
  for (const uint16_t words : postings->segment_words) hash.Number(words);
  return hash.value();
}

}  // namespace ilre::cli
