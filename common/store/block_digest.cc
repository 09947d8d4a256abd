#include "common/store/block_digest.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <cstddef>
#include <cstdint>

#include "absl/strings/str_cat.h"

namespace ilre {
namespace {

std::string Hex(XXH128_hash_t hash) {
  return absl::StrCat(absl::Hex(hash.high64, absl::kZeroPad16), absl::Hex(hash.low64, absl::kZeroPad16));
}

class Hasher {
 public:
  Hasher() { XXH3_128bits_reset(&state_); }

  void Bytes(absl::string_view bytes) {
    Number(bytes.size());  // so that no byte can move from one part into the next
    XXH3_128bits_update(&state_, bytes.data(), bytes.size());
  }
  void Number(uint64_t number) { XXH3_128bits_update(&state_, &number, sizeof(number)); }
  std::string Digest() const { return Hex(XXH3_128bits_digest(&state_)); }

 private:
  XXH3_state_t state_;
};

}  // namespace

std::string BlockDigest(const BlockView& block) {
  Hasher hasher;
  hasher.Number(block.block());
  hasher.Number(block.fingerprint());
  hasher.Number(block.text_begin());
  hasher.Number(static_cast<uint64_t>(block.num_tokens()));
  for (int t = 0; t < block.num_tokens(); ++t) {
    hasher.Number(static_cast<uint64_t>(block.id(t)));
    hasher.Number(block.token_end(t));
  }
  hasher.Bytes(block.segment_bitmap());
  for (size_t h = 0; h < block.heads().size(); ++h) {
    hasher.Number(block.heads()[h].dim);
    hasher.Number(static_cast<uint64_t>(block.heads()[h].type) + (block.heads()[h].pooled ? 0x100 : 0));
    hasher.Bytes(block.scales(static_cast<int>(h)));
    hasher.Bytes(block.vectors(static_cast<int>(h)));
  }
  return hasher.Digest();
}

std::string TextDigest(absl::string_view text) { return Hex(XXH3_128bits(text.data(), text.size())); }

std::string LexicalDigest(const LexicalData& lexical) { return TextDigest(EncodeLexical(/*key=*/"", lexical)); }

}  // namespace ilre
