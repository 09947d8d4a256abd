// Byte-level BPE as GPT-2, Llama 3, Qwen and SmolLM have it.

#include <array>
#include <memory>
#include <utility>

#include "absl/memory/memory.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "common/base/status_macros.h"
#include "common/model/byte_alphabet.h"
#include "common/model/wordwise_tokenizer.h"

namespace ilre {
namespace {

class ByteLevelBpe : public WordwiseTokenizer {
 public:
  static absl::StatusOr<std::unique_ptr<Tokenizer>> Create(TokenizerSpec spec) {
    const size_t num_merges = spec.merges.size();
    auto tokenizer = absl::WrapUnique(new ByteLevelBpe(num_merges));
    ILRE_RETURN_IF_ERROR(tokenizer->Init(std::move(spec)));
    ILRE_RETURN_IF_ERROR(tokenizer->ReadTokens());
    ILRE_RETURN_IF_ERROR(tokenizer->ReadMerges());
    tokenizer->Finish();
    return tokenizer;
  }

 protected:
  WordEnd ScanWord(absl::string_view text, size_t begin) const override {
    return WordScanner(spec_.pre_tokenizer, text).Next(begin);
  }
  bool BlankBeginsWord() const override { return true; }
  bool HasByte(uint8_t byte) const override { return byte_ids_[byte] >= 0; }

  // Bytes without a token are left out, as in the `tokenizers` library: SmolLM2 lacks 21, which no text should have.
  void MergeWord(absl::string_view word, uint32_t base, Scratch* scratch, Tokens* tokens) const override {
    std::vector<BpeSymbol>& symbols = scratch->symbols;
    symbols.clear();
    for (size_t i = 0; i < word.size(); ++i) {
      const TokenId id = byte_ids_[static_cast<uint8_t>(word[i])];
      if (id >= 0) symbols.push_back({id, static_cast<uint32_t>(i + 1)});
    }
    merger_.Merge(&symbols, &scratch->merger);
    for (const BpeSymbol& symbol : symbols) {
      tokens->ids.push_back(symbol.id);
      tokens->ends.push_back(base + symbol.end);
    }
  }

 private:
  explicit ByteLevelBpe(size_t num_merges) : merger_(num_merges) {}

  absl::Status ReadTokens();
  absl::Status ReadMerges();

  std::array<TokenId, 256> byte_ids_;  // -1: none
  BpeMerger merger_;
};

absl::Status ByteLevelBpe::ReadTokens() {
  byte_ids_.fill(-1);
  std::string bytes;
  for (TokenId id = 0; id < vocab_size(); ++id) {
    const std::string& spelling = spec_.tokens[id];
    if (spec_.types[id] == TokenType::kUserDefined) {
      AddTokenBytes(spelling);
    } else if (!IsNormal(id)) {
      AddTokenBytes({});
    } else if (!DecodeByteSpelling(spelling, &bytes)) {
      return BadTokenizer(absl::StrCat("token ", id, ", \"", absl::CHexEscape(spelling),
                                       "\", is not in the alphabet of byte-level BPE"));
    } else {
      AddTokenBytes(bytes);
      if (bytes.size() == 1) byte_ids_[static_cast<uint8_t>(bytes[0])] = id;
    }
  }
  return absl::OkStatus();
}

absl::Status ByteLevelBpe::ReadMerges() {
  for (size_t rank = 0; rank < spec_.merges.size(); ++rank) {
    const auto& [left, right] = spec_.merges[rank];
    const TokenId ids[] = {FindToken(left), FindToken(right), FindToken(absl::StrCat(left, right))};
    for (TokenId id : ids) {
      if (id >= 0 && IsNormal(id)) continue;
      return BadMerge(rank, left, right, id >= 0);
    }
    merger_.AddPair(ids[0], ids[1], static_cast<uint32_t>(rank), ids[2]);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Tokenizer>> CreateByteLevelBpe(TokenizerSpec spec) {
  return ByteLevelBpe::Create(std::move(spec));
}

}  // namespace ilre
