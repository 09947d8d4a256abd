#include "generator_service/prompt.h"

#include "absl/strings/str_cat.h"

namespace ilre {
namespace {

class PromptWriter {
 public:
  explicit PromptWriter(const Tokenizer& tokenizer) : tokenizer_(tokenizer) {}

  // Where the next text stands, if nothing comes before it.
  void SetPosition(TextPosition position) { position_ = position; }
  void Ids(absl::Span<const TokenId> ids) {
    FlushText();
    prompt_.insert(prompt_.end(), ids.begin(), ids.end());
    if (!ids.empty()) position_ = TextPosition::kContinued;
  }
  // Texts that follow one another are tokenized as one.
  void Text(absl::string_view text) { text_.append(text.data(), text.size()); }

  std::vector<TokenId> Finish() {
    FlushText();
    return std::move(prompt_);
  }

 private:
  void FlushText() {
    if (text_.empty()) return;
    const std::vector<TokenId> ids = tokenizer_.EncodeIds(text_, SpecialTokens::kPlainText, position_);
    prompt_.insert(prompt_.end(), ids.begin(), ids.end());
    position_ = TextPosition::kContinued;
    text_.clear();
  }

  const Tokenizer& tokenizer_;
  std::vector<TokenId> prompt_;
  std::string text_;
  TextPosition position_ = TextPosition::kStart;
};

}  // namespace

std::vector<TokenId> BuildPrompt(const Tokenizer& tokenizer, const ChatTemplate& chat, const PromptParts& parts) {
  PromptWriter writer(tokenizer);
  writer.Ids(chat.head);
  writer.SetPosition(chat.user_position);
  if (!parts.context.empty()) writer.Text("Text:\n");
  absl::string_view document;  // the one named last
  for (const ContextPiece& piece : parts.context) {
    if (piece.after_gap) writer.Text(parts.gap_mark);
    if (piece.document != document) writer.Text(absl::StrCat("Document ", piece.document, ":\n"));
    document = piece.document;
    if (piece.ids.empty()) {
      writer.Text(piece.text);
    } else {
      writer.Ids(piece.ids);
    }
  }
  if (!parts.context.empty()) writer.Text("\n\nQuestion: ");
  writer.Text(parts.question);
  if (!parts.instruction.empty()) {
    writer.Text("\n\n");
    writer.Text(parts.instruction);
  }
  writer.Ids(chat.tail);
  writer.Text(parts.answer_prefix);
  return writer.Finish();
}

}  // namespace ilre
