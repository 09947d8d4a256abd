// tokenizer.json (or tokenizer.model, where the first byte is no brace) -> spec -> tokenizer -> encode, decode, stream.
//
// The input is the file; behind a zero byte, if there is one, comes the text to encode.

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>

#include "absl/strings/string_view.h"
#include "common/base/check.h"
#include "common/model/chat_template.h"
#include "common/model/tokenizer.h"
#include "common/model/tokenizer_files.h"

namespace ilre {
namespace {

// What must hold for every tokenizer that could be made at all.
void CheckTokenizer(const Tokenizer& tokenizer, absl::string_view text) {
  const Tokens tokens = tokenizer.Encode(text);
  ILRE_CHECK(tokens.ids.size() == tokens.ends.size());
  uint32_t last = 0;
  for (size_t i = 0; i < tokens.ids.size(); ++i) {
    ILRE_CHECK(tokens.ids[i] >= 0 && tokens.ids[i] < tokenizer.vocab_size() && !tokenizer.IsControl(tokens.ids[i]));
    ILRE_CHECK(tokens.ends[i] >= last);
    last = tokens.ends[i];
  }
  ILRE_CHECK(tokens.ends.empty() || last == text.size());
  if (tokenizer.spec().kind == TokenizerKind::kSentencePiece) {
    const std::string decoded = tokenizer.Decode(tokens.ids);
    ILRE_CHECK(decoded == text || decoded == " " + std::string(text));
  }
  const size_t safe = tokenizer.SafePrefix(text);
  ILRE_CHECK(safe <= text.size());
  std::vector<TokenId> both = tokenizer.EncodeIds(text.substr(0, safe));
  // Without a prefix nothing has been encoded yet, and the rest is the start.
  const TextPosition position = safe > 0 ? TextPosition::kContinued : TextPosition::kStart;
  for (TokenId id : tokenizer.EncodeIds(text.substr(safe), SpecialTokens::kPlainText, position)) both.push_back(id);
  ILRE_CHECK(both == tokens.ids);
  ILRE_CHECK(tokenizer.Encode(text, SpecialTokens::kParse).ends.size() <= text.size() + 1 + text.size());
}

void FuzzOne(absl::string_view input) {
  const size_t zero = input.find('\0');
  const absl::string_view file = input.substr(0, zero);
  const absl::string_view text =
      zero == absl::string_view::npos ? "The 12 words' end.\n\n\t x" : input.substr(zero + 1);
  TokenizerJsonFiles files;
  if (!file.empty() && file[0] == '{') {
    files.tokenizer = file;
    files.tokenizer_config = file;  // its keys are read where they are there
  } else {
    files.sentencepiece = input;
  }
  absl::StatusOr<TokenizerSpec> spec = TokenizerSpecFromJson("fuzz", files);
  if (!spec.ok()) return;
  absl::StatusOr<std::unique_ptr<Tokenizer>> tokenizer = Tokenizer::Create(*std::move(spec));
  if (!tokenizer.ok()) return;
  CheckTokenizer(**tokenizer, text);
  MakeChatTemplate(**tokenizer, text).status().IgnoreError();
}

}  // namespace
}  // namespace ilre

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  ilre::FuzzOne(absl::string_view(reinterpret_cast<const char*>(data), size));
  return 0;
}
