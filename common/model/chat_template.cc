#include "common/model/chat_template.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "common/base/errors.h"
#include "common/base/status_macros.h"

namespace ilre {
namespace {

// A piece of a frame: a control token by its spelling, or text, which is encoded as plain text.
struct Piece {
  enum Kind { kControl, kText } kind;
  std::string text;
};
Piece Control(absl::string_view spelling) { return {Piece::kControl, std::string(spelling)}; }
Piece Text(absl::string_view text) { return {Piece::kText, std::string(text)}; }

struct Frame {
  std::vector<Piece> head, tail;
  TextPosition user_position = TextPosition::kStart;
};

Frame ChatmlFrame(absl::string_view system) {
  Frame frame;
  if (!system.empty()) {
    frame.head = {Control("<|im_start|>"), Text(absl::StrCat("system\n", system)), Control("<|im_end|>"), Text("\n")};
  }
  frame.head.push_back(Control("<|im_start|>"));
  frame.head.push_back(Text("user\n"));
  frame.tail = {Control("<|im_end|>"), Text("\n"), Control("<|im_start|>"), Text("assistant\n")};
  return frame;
}

Frame Llama3Frame(absl::string_view system) {
  Frame frame;
  const auto open_turn = [](absl::string_view role, std::vector<Piece>* pieces) {
    pieces->push_back(Control("<|start_header_id|>"));
    pieces->push_back(Text(role));
    pieces->push_back(Control("<|end_header_id|>"));
    pieces->push_back(Text("\n\n"));
  };
  if (!system.empty()) {
    open_turn("system", &frame.head);
    frame.head.back().text += std::string(system);
    frame.head.push_back(Control("<|eot_id|>"));
  }
  open_turn("user", &frame.head);
  frame.tail = {Control("<|eot_id|>")};
  open_turn("assistant", &frame.tail);
  return frame;
}

// The blank between "[INST]" and the user's words is the one that SentencePiece puts before a text's start. Newer
// Mistral vocabularies have the brackets as control tokens, older ones spell them out.
Frame InstFrame(const Tokenizer& tokenizer, absl::string_view system_text) {
  Frame frame;
  const auto bracket = [&](absl::string_view spelling) {
    return tokenizer.IsControl(tokenizer.FindToken(spelling)) ? Control(spelling) : Text(spelling);
  };
  frame.head = {bracket("[INST]")};
  if (!system_text.empty()) {
    if (frame.head.back().kind == Piece::kControl) {
      frame.head.push_back(Text(system_text));
    } else {
      frame.head.back().text += absl::StrCat(" ", system_text);
    }
    frame.user_position = TextPosition::kContinued;
  }
  frame.tail = {bracket("[/INST]")};
  return frame;
}

Frame ZephyrFrame(absl::string_view system) {
  Frame frame;
  if (!system.empty()) {
    frame.head = {Text(absl::StrCat("<|system|>\n", system)), Control("</s>"), Text("\n<|user|>\n")};
  } else {
    frame.head = {Text("<|user|>\n")};
  }
  frame.tail = {Control("</s>"), Text("\n<|assistant|>\n")};
  frame.user_position = TextPosition::kContinued;
  return frame;
}

// There is no system turn: its words go before the user's, in the user's turn.
Frame GemmaFrame(absl::string_view system) {
  Frame frame;
  frame.head = {Control("<start_of_turn>"), Text(system.empty() ? "user\n" : absl::StrCat("user\n", system, "\n\n"))};
  frame.tail = {Control("<end_of_turn>"), Text("\n"), Control("<start_of_turn>"), Text("model\n")};
  frame.user_position = TextPosition::kContinued;
  return frame;
}

Frame PlainFrame(absl::string_view system) {
  Frame frame;
  if (!system.empty()) {
    frame.head = {Text(absl::StrCat(system, "\n\n"))};
    frame.user_position = TextPosition::kContinued;
  }
  return frame;
}

// Empty for a template of no known family.
std::string FamilyOf(absl::string_view jinja) {
  if (jinja.empty()) return "plain";
  if (absl::StrContains(jinja, "<|im_start|>")) return "chatml";
  if (absl::StrContains(jinja, "<|start_header_id|>")) return "llama3";
  if (absl::StrContains(jinja, "<start_of_turn>")) return "gemma";
  if (absl::StrContains(jinja, "[INST]")) return absl::StrContains(jinja, "<<SYS>>") ? "llama2" : "mistral";
  // Phi-3 has the same names of turns, but ends them with a token of its own.
  const bool zephyr = absl::StrContains(jinja, "<|user|>") && absl::StrContains(jinja, "<|assistant|>");
  return zephyr && !absl::StrContains(jinja, "<|end|>") ? "zephyr" : "";
}

Frame FrameOf(const Tokenizer& tokenizer, const std::string& family, absl::string_view system) {
  if (family == "chatml") return ChatmlFrame(system);
  if (family == "llama3") return Llama3Frame(system);
  if (family == "gemma") return GemmaFrame(system);
  if (family == "zephyr") return ZephyrFrame(system);
  if (family == "plain") return PlainFrame(system);
  if (system.empty()) return InstFrame(tokenizer, "");
  return InstFrame(tokenizer, family == "llama2" ? absl::StrCat("<<SYS>>\n", system, "\n<</SYS>>\n\n")
                                                 : absl::StrCat(system, "\n\n"));
}

absl::StatusOr<std::vector<TokenId>> EncodePieces(const Tokenizer& tokenizer, const std::string& family,
                                                  absl::Span<const Piece> pieces) {
  std::vector<TokenId> ids;
  for (const Piece& piece : pieces) {
    if (piece.kind == Piece::kControl) {
      const TokenId id = tokenizer.FindToken(piece.text);
      if (!tokenizer.IsControl(id)) {
        return MakeError(absl::StatusCode::kInvalidArgument, "BAD_CHAT_TEMPLATE",
                         absl::StrCat("the chat template is of the family ", family, ", but ", piece.text,
                                      " is no control token of the vocabulary"));
      }
      ids.push_back(id);
      continue;
    }
    const std::vector<TokenId> text = tokenizer.EncodeIds(piece.text);
    ids.insert(ids.end(), text.begin(), text.end());
  }
  return ids;
}

}  // namespace

absl::StatusOr<ChatTemplate> MakeChatTemplate(const Tokenizer& tokenizer, absl::string_view system) {
  ChatTemplate result;
  result.family = FamilyOf(tokenizer.spec().chat_template);
  if (result.family.empty()) {
    return MakeError(
        absl::StatusCode::kInvalidArgument, "UNKNOWN_CHAT_TEMPLATE",
        "the model's chat template is of no known family (chatml, llama3, gemma, llama2, mistral, zephyr)");
  }
  const Frame frame = FrameOf(tokenizer, result.family, system);
  ILRE_ASSIGN_OR_RETURN(result.head, EncodePieces(tokenizer, result.family, frame.head));
  ILRE_ASSIGN_OR_RETURN(result.tail, EncodePieces(tokenizer, result.family, frame.tail));
  if (tokenizer.spec().add_bos) result.head.insert(result.head.begin(), tokenizer.spec().bos_id);
  result.user_position = frame.user_position;
  return result;
}

}  // namespace ilre
